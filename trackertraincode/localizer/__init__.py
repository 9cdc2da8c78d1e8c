"""The face localizer of OpenTrack's tracker: network, loss, scenes and data to train it on, training, models in files.

images or rendered scenes --data--> batches --network, loss--> training --> localizer.ckpt, localizer.onnx --model-->
"""

from trackertraincode.sample.images import Size

SIZE = Size(288, 224)  # of the network's input, fixed by OpenTrack's NeuralNet tracker
