"""Networks: backbones over timm, heads, uncertainty, the pose network, the localizer, checkpoints."""
