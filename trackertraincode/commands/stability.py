"""Score card of what users feel: jitter, blinks, cross-talk, crop sensitivity, latency, calibration.

ttc stability                                     the model of this package, on rendered faces
ttc stability a.onnx b.ckpt --data aflw2k.h5 --count 120 --report felt.html
"""

import argparse
from pathlib import Path

from trackertraincode.arguments import (
    MODELS,
    OutputFile,
    add_device_option,
    add_overwrite_option,
    add_preprocess_option,
    positive_int,
)
from trackertraincode.files import check_outputs
from trackertraincode.pretrained import DEFAULT, pose_network


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="*", default=[Path(DEFAULT)], **MODELS)
    parser.add_argument("--data", type=Path, help="sample file with poses (default: rendered faces)")
    parser.add_argument("--count", type=positive_int, default=120, help="faces, evenly spread over the file")
    add_preprocess_option(parser)
    parser.add_argument("--json", type=OutputFile(".json"), help="write the score cards as JSON")
    parser.add_argument("--report", type=OutputFile(".html"), help="write table and curves as HTML")
    add_device_option(parser)
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    options.models = [pose_network(path) for path in options.models]
    check_outputs([options.json, options.report], [*options.models, options.data], overwrite=options.overwrite)
    from trackertraincode.evaluation.html_report import write_report
    from trackertraincode.evaluation.plots import pyplot
    from trackertraincode.evaluation.predictor import choose_device, load_predictors
    from trackertraincode.evaluation.report import write_json
    from trackertraincode.evaluation.stability import RenderedScenes, StabilityOptions, measure_stability
    from trackertraincode.evaluation.stability_faces import faces_of_file, rendered_faces
    from trackertraincode.evaluation.stability_report import score_sections, score_table

    if options.report is not None:
        pyplot()  # which not everybody has: better missed now than after minutes
    device = choose_device(options.device)
    predictors = load_predictors(options.models, device)
    faces = faces_of_file(options.data, options.count) if options.data else rendered_faces(options.count)
    scenes = RenderedScenes.make(pairs=max(1, options.count // 4), sweeps=max(1, options.count // 12))
    settings = StabilityOptions(preprocess=options.preprocess)
    cards = []
    try:
        for predictor in predictors:
            cards.append(measure_stability(predictor, faces, scenes, settings))
    except BaseException as error:
        if cards:
            error.add_note(f"What is done is kept, {len(cards)} of {len(predictors)} models.")
        raise
    finally:  # what is done when an error or Ctrl-C comes is not lost
        if cards and options.json is not None:
            write_json([card.to_dict() for card in cards], options.json)
        if cards:
            print(score_table(cards), flush=True)
        if cards and options.report is not None:
            write_report(options.report, "What users feel", score_sections(cards))
    return 0
