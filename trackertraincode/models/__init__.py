"""Networks: backbones over timm, heads, uncertainty, the pose network, checkpoints."""
