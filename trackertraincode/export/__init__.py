"""Export to ONNX, the contract of OpenTrack's tracker, quantisation."""
