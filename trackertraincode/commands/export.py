"""Export a checkpoint to ONNX, compare it with the network and check its contract.

ttc export runs/a/swa.ckpt                   writes runs/a/swa.onnx, for OpenTrack
ttc export runs/a/swa.ckpt --full            every output, any number of crops, for other tools
ttc export runs/a/swa.ckpt --quantize --calibration 300wlp      runs/a/swa_int8.onnx
ttc export runs/a/swa.ckpt --fp16                               runs/a/swa_fp16.onnx
ttc export default --quantize --calibration faces.h5            pose_int8.onnx, of the model of this package
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import OutputFile, add_overwrite_option
from trackertraincode.errors import UsageError, UserError
from trackertraincode.files import check_outputs
from trackertraincode.pretrained import DEFAULT, pose_network

RANDOM_CROPS = 64  # that float16 is compared on without --calibration


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        metavar="CHECKPOINT",
        help=".ckpt of a pose network; its float32 .onnx, too, for --quantize and --fp16",
    )
    parser.add_argument("--posenet", type=Path, help="the same, as published commands name it")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--opentrack", action="store_true", help="for OpenTrack's NeuralNet tracker (default)")
    kind.add_argument("--full", action="store_true", help="every output, any number of crops")
    parser.add_argument("--quantize", action="store_true", help="static int8; needs --calibration")
    parser.add_argument("--fp16", action="store_true", help="half the size: float16 inside")
    parser.add_argument(
        "--calibration", metavar="NAME", help="faces to calibrate and compare with: a data set's name or an .h5 file"
    )
    parser.add_argument("--catalog", type=Path, help="TOML file with data sets of your own")
    parser.add_argument(
        "--check", action="store_true", help="print the contract's faults; exit code 1 when there is one"
    )
    parser.add_argument(
        "--output", type=OutputFile(".onnx"), help="ONNX file to write (default: beside the checkpoint)"
    )
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    if (options.checkpoint is None) == (options.posenet is None):
        raise UsageError("give one checkpoint, a .ckpt file")
    named = options.checkpoint or options.posenet
    checkpoint = pose_network(named)
    if checkpoint.is_dir():
        raise UserError(f"{checkpoint}: is a folder; give one checkpoint, such as {checkpoint / 'swa.ckpt'}.")
    is_exported = checkpoint.suffix.lower() == ".onnx"
    if is_exported and (options.full or not (options.quantize or options.fp16)):
        raise UserError(
            f"{checkpoint}: is an ONNX file already; `ttc check-model` tells whether OpenTrack runs it, and --quantize and "
            "--fp16 make smaller ones of it."
        )
    if options.quantize and options.calibration is None:
        raise UsageError("--quantize needs --calibration NAME, the faces that show which values the network meets")
    if options.output is not None and options.quantize and options.fp16:
        raise UsageError("--output names one file; give --quantize or --fp16, or leave --output out")
    precisions = [name for name, wanted in (("int8", options.quantize), ("fp16", options.fp16)) if wanted] or [""]
    beside = Path(checkpoint.name) if str(named) == DEFAULT else checkpoint  # in the current folder
    outputs = {name: options.output or _beside(beside, options.full, name) for name in precisions}
    inputs = [checkpoint, options.catalog, Path(options.calibration) if options.calibration else None]
    check_outputs(outputs.values(), inputs, overwrite=options.overwrite)
    from trackertraincode.export.calibration import calibration_crops
    from trackertraincode.export.contract import full_faults, opentrack_faults
    from trackertraincode.export.onnx import describe_difference, export_full, export_opentrack, sample_images
    from trackertraincode.export.quantize import describe_quantised, export_fp16, export_int8
    from trackertraincode.models.checkpoint import load_network
    from trackertraincode.models.exported import load_exported

    network, about = (load_exported if is_exported else load_network)(checkpoint)
    faces = None
    if options.calibration is not None:
        faces = calibration_crops(options.calibration, network.config, options.catalog)
    crops = sample_images(network.config.channels, network.config.input_size, RANDOM_CROPS) if faces is None else faces
    shown = "random images" if faces is None else f"{len(faces)} faces"
    faulty = False
    for precision, path in outputs.items():
        if precision:
            export = export_int8 if precision == "int8" else export_fp16
            quantised = describe_quantised(export(network, path, about, crops, full=options.full))
            what = f"{precision}, {quantised}; on {shown}"
        else:
            difference = (export_full if options.full else export_opentrack)(network, path, about, faces)
            what = describe_difference(difference, faces)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {what}")
        if options.check:
            faults = full_faults(path) if options.full else opentrack_faults(path)
            for fault in faults:
                print(f"{path}: {fault}")
            faulty = faulty or bool(faults)
            if not faults:
                print(f"{path}: " + ("contract fulfilled" if options.full else "OpenTrack runs it"))
    return int(faulty)


def _beside(checkpoint: Path, full: bool, precision: str) -> Path:
    suffix = ("_full" if full else "") + (f"_{precision}" if precision else "")
    return checkpoint.with_name(checkpoint.stem + suffix + ".onnx")
