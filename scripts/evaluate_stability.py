"""Score card of what users feel: jitter, blinks, cross-talk, crop sensitivity, latency, calibration.

python scripts/evaluate_stability.py model.onnx                          on rendered faces
python scripts/evaluate_stability.py a.onnx b.ckpt --data aflw2k.h5 --count 120 --report felt.html
"""

import argparse
from pathlib import Path

from trackertraincode.cli import add_device_option, positive_int, run_main
from trackertraincode.evaluation.crops import PREPROCESSING
from trackertraincode.evaluation.html_report import write_report
from trackertraincode.evaluation.predictor import choose_device, load_predictor
from trackertraincode.evaluation.report import write_json
from trackertraincode.evaluation.stability import RenderedScenes, StabilityOptions, measure_stability
from trackertraincode.evaluation.stability_faces import faces_of_file, rendered_faces
from trackertraincode.evaluation.stability_report import score_sections, score_table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help=".ckpt or .onnx")
    parser.add_argument("--data", type=Path, metavar="FILE", help="sample file with poses (default: rendered faces)")
    parser.add_argument(
        "--count", type=positive_int, default=120, help="faces, evenly spread over the file (default 120)"
    )
    parser.add_argument(
        "--preprocess", choices=PREPROCESSING, default="training", help="grey levels (default training)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the score cards as JSON")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write table and curves as HTML")
    add_device_option(parser)
    options = parser.parse_args()

    device = choose_device(options.device)
    predictors = [load_predictor(path, device) for path in options.models]
    faces = faces_of_file(options.data, options.count) if options.data else rendered_faces(options.count)
    scenes = RenderedScenes.make(pairs=max(1, options.count // 4), sweeps=max(1, options.count // 12))
    settings = StabilityOptions(preprocess=options.preprocess)
    cards = [measure_stability(predictor, faces, scenes, settings) for predictor in predictors]
    print(score_table(cards))
    if options.json is not None:
        write_json([card.to_dict() for card in cards], options.json)
    if options.report is not None:
        write_report(options.report, "What users feel", score_sections(cards))
    return 0


if __name__ == "__main__":
    run_main(main)
