"""Evaluate pose networks (.ckpt or .onnx) under named protocols, or on any data set.

ttc evaluate --ds aflw2k3d                        the model of this package
ttc evaluate --ds aflw2k3d model.onnx --model default
ttc evaluate --ds repro_300_wlp+own.h5 model.onnx
ttc evaluate --ds aflw2k3d+biwi runs/a/swa.ckpt runs/b/swa.ckpt --json results.json
"""

import argparse
import os
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from trackertraincode.arguments import (
    Once,
    OutputFile,
    add_crop_factor_option,
    add_device_option,
    add_face_model_option,
    add_overwrite_option,
    add_preprocess_option,
    add_workers_option,
    output_folder,
)
from trackertraincode.errors import UsageError, UserError, closest_first
from trackertraincode.files import check_outputs
from trackertraincode.light import names_in
from trackertraincode.pretrained import DEFAULT, pose_network
from trackertraincode.workers import choose_workers

if TYPE_CHECKING:
    from trackertraincode.evaluation.evaluate import Result

VIS = ("none", *names_in("evaluation.pages", "ORDERS"))  # what the worst images are the worst in
MODEL_FILES = (".ckpt", ".onnx")
COMPREHENSIVE = names_in("geometry.boxes", "CROP_FACTORS")  # of --comprehensive-roi


def add_options(parser: argparse.ArgumentParser) -> None:
    protocols = ", ".join(names_in("evaluation.protocols", "PROTOCOLS"))
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL", help=".ckpt and .onnx files, mixed")
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        default=[],
        metavar="MODEL",
        help='one more; "default" is the one of this package, which is taken where none is named',
    )
    parser.add_argument(
        "--ds",
        action=Once,
        default="aflw2k3d",
        metavar="NAME[+NAME...]",
        help=f"joined by +: protocols ({protocols}), data sets of the catalog, .h5 files",
    )
    parser.add_argument("--data", type=Path, help="sample file instead of the one in $DATADIR")
    parser.add_argument("--catalog", type=Path, help="TOML file with data sets of your own")
    add_face_model_option(parser)
    add_device_option(parser)
    add_workers_option(parser)
    parser.add_argument("--json", type=OutputFile(".json"), help="write the rows as JSON")
    parser.add_argument("--csv", type=OutputFile(".csv"), help="write the rows as CSV")
    parser.add_argument("--predictions", type=OutputFile(".csv"), help="write a CSV line per image")
    parser.add_argument("--report", type=OutputFile(".html"), help="write tables, curves and images as HTML")
    parser.add_argument(
        "--vis",
        nargs="?",
        const="rot",
        default="none",
        metavar="ORDER",
        help=f"page through the images, worst first: left and right keys. ORDER: {', '.join(VIS)}; rot where --vis is alone",
    )
    parser.add_argument(
        "--vis-folder", type=output_folder, default=Path("pages"), help="for the pages where there is no display"
    )
    add_crop_factor_option(parser, None)
    parser.add_argument("--comprehensive-roi", action="store_true", help=f"crop factors {COMPREHENSIVE}, a row each")
    parser.add_argument(
        "--alignment-scheme", choices=names_in("evaluation.alignment", "SCHEMES"), help="instead of the protocol's"
    )
    parser.add_argument(
        "--perspective-correction",
        dest="alignment_scheme",
        action="store_const",
        const="perspective",
        help="the same as --alignment-scheme perspective",
    )
    add_preprocess_option(parser)
    parser.add_argument("--ensemble", action="store_true", help="one row for the mean of all models")
    add_overwrite_option(parser)


def run(options: argparse.Namespace) -> int:
    is_file = os.path.isfile(options.ds)  # noqa: PTH113 - Path.is_file raises for names that are too long
    names = [options.ds] if is_file else [name.strip() for name in options.ds.split("+")]
    if options.vis not in VIS:  # --vis model.onnx
        if options.vis != DEFAULT and Path(options.vis).suffix.lower() not in MODEL_FILES:
            raise UsageError(f"--vis {options.vis}: choose one of {', '.join(closest_first(options.vis, VIS))}")
        options.models, options.vis = [Path(options.vis), *options.models], "rot"
    options.models = [pose_network(path) for path in [*options.models, *options.model] or [DEFAULT]]
    from trackertraincode.datasets.catalog import find_file, load_catalog
    from trackertraincode.evaluation.evaluate import EvaluationOptions, evaluate
    from trackertraincode.evaluation.pages import page_through
    from trackertraincode.evaluation.plots import pyplot
    from trackertraincode.evaluation.predictor import Ensemble, choose_device, load_predictors
    from trackertraincode.evaluation.protocols import find_protocol

    catalog = load_catalog(options.catalog)
    protocols = {name: find_protocol(name, catalog) for name in names}
    of = {name: protocol.dataset for name, protocol in protocols.items()}
    if options.data is not None and len(set(of.values())) > 1:
        raise UserError(
            f"--data {options.data}: one file can't be {' and '.join(dict.fromkeys(of.values()))}; give --ds names of one."
        )
    if options.comprehensive_roi and options.roi_expansion is not None:
        raise UserError("--comprehensive-roi: has crop factors of its own; leave out --roi-expansion.")
    own_crop = [name for name, protocol in protocols.items() if protocol.framing.default_factor_only]
    if own_crop and options.comprehensive_roi:
        raise UserError(f"protocol {own_crop[0]} has a crop of its own; leave out --comprehensive-roi for it.")
    if options.report is not None:
        pyplot()  # which not everybody has: better missed now than after hours
    files = [options.data or find_file(dataset, catalog) for dataset in of.values()]
    check_outputs(
        [options.json, options.csv, options.predictions, options.report],
        [*options.models, *files, options.catalog, options.face_model],
        folders=[options.vis_folder] if options.vis != "none" else [],
        overwrite=options.overwrite,
    )
    device = choose_device(options.device)
    predictors = load_predictors(options.models, device)
    chosen = [Ensemble(predictors)] if options.ensemble else predictors
    factors = COMPREHENSIVE if options.comprehensive_roi else (options.roi_expansion,)
    results: list[Result] = []
    wanted = list(product(names, chosen, factors))
    try:
        for name, predictor, factor in wanted:
            given = EvaluationOptions(
                factor=factor,
                alignment=options.alignment_scheme,
                preprocess=options.preprocess,
                face_model=options.face_model,
                file=options.data,
                catalog=options.catalog,
                workers=choose_workers(options.workers, options.scheduler),
            )
            results.append(evaluate(predictor, name, given))
    except BaseException as error:
        if results:
            error.add_note(f"What is done is kept, {len(results)} of {len(wanted)} rows.")
        raise
    finally:  # what is done when an error or Ctrl-C comes is not lost
        if results:
            _hand_out(results, options)
    if options.vis != "none":
        print(page_through(results, options.vis_folder, options.vis))
    return 0


def _hand_out(results: "list[Result]", options: argparse.Namespace) -> None:
    """Files first: nothing is lost where the table can't be printed."""
    from trackertraincode.evaluation.report import format_table, write_csv, write_json, write_predictions

    rows = [result.row() for result in results]
    if options.json is not None:
        write_json(rows, options.json)
    if options.csv is not None:
        write_csv(rows, options.csv)
    if options.predictions is not None:
        write_predictions(results, options.predictions)
    print(format_table(rows), flush=True)
    if options.report is not None:
        from trackertraincode.evaluation.html_report import result_sections, write_report

        write_report(options.report, f"Head pose: {options.ds}", result_sections(results))
