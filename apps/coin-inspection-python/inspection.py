from pathlib import Path

import coins
import numpy
from png import read_png, write_png

from sojourn.steps import Algorithm, StepError, open_image

LEAST_CONTRAST = 20  # grey values between coins and cloth
LEAST_SHARE = 0.4  # of the middle coin's area: what is smaller is dirt
DAMAGED_SHARE = 0.85
DAMAGED_LIKENESS = 0.8
FOREIGN_LIKENESS = 0.4
FOREIGN_SHARE = 0.7  # what covers less of the place is what is left of the coin


class CoinInspection(Algorithm):
    """Calibrates and locates on a reference photograph, then judges each production picture by what that left."""

    def get_info(self):
        reach = {"key": "reach_px", "type": "float", "default": 12.0, "min": 1, "max": 100}
        reach["description"] = "how far a coin may lie from its place"
        return {
            "name": "coin-inspection-python",
            "version": "1.0.0",
            "description": "Compares a tray of coins with a reference photograph.",
            "steps": [
                {"index": 1, "name": "calibrate"},
                {"index": 2, "name": "locate", "params": [{"key": "expected", "type": "int", "default": 24, "min": 1}]},
                {"index": 3, "name": "judge", "params": [reach]},
            ],
            "resumable": True,
        }

    def pre_execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        return {"status": "OK", "data": {}}

    def execute(self, step_index, pid, session, user_params, shared_mem_id, image_meta):
        picture = picture_of(shared_mem_id, image_meta)
        if step_index == 1:
            return calibrate(picture, session)
        if step_index == 2:
            return locate(picture, user_params["expected"], session)
        return judge(picture, user_params["reach_px"], session)


def picture_of(shared_mem_id, image_meta):
    """The grey values of one in shared memory, or of a PNG file that was sent along."""
    if "file" in image_meta:
        return picture_of_file(image_meta["file"])
    image = open_image(shared_mem_id, image_meta)
    pixels = image.array().astype(float)
    if image.channels == 1:
        gray = pixels[:, :, 0] / (257 if image.format == "gray16" else 1)
    else:
        red, blue = (2, 0) if image.format == "bgr8" else (0, 2)
        gray = 0.299 * pixels[:, :, red] + 0.587 * pixels[:, :, 1] + 0.114 * pixels[:, :, blue]
    return gray.round().astype(numpy.uint8)


def picture_of_file(file):
    path = file.get("path") if isinstance(file, dict) else None
    if not isinstance(path, str):
        raise StepError("image_meta.file: must be a file that was sent along", "image_not_found")
    path = Path(path).resolve()
    if not path.is_relative_to(Path.cwd().resolve()):
        raise StepError("image_meta.file: lies outside the session's folder", "image_not_found")
    try:
        return read_png(path)
    except (OSError, ValueError) as error:
        message = f"image_meta.file: {path.name} is no picture that can be read: {error}"
        raise StepError(message, "image_load_failed") from None


def calibrate(picture, session):
    threshold = coins.threshold_of(coins.lifted(picture))
    found = coins.find(picture, threshold, 1) if threshold >= LEAST_CONTRAST else []
    if not found:
        return not_good("too little contrast", [])
    session.set("threshold", threshold)
    session.set("least_area", LEAST_SHARE * sorted(coin["area"] for coin in found)[len(found) // 2])
    return good(threshold=threshold)


def locate(picture, expected, session):
    found = coins.find(picture, needed(session, "threshold"), needed(session, "least_area"))
    session.set("coins", found)
    data = {"count": len(found), "position_rects": [rect_of(coin, "coin") for coin in found]}
    return good(**data) if len(found) == expected else not_good(f"{len(found)} coins, not {expected}", [], **data)


def judge(picture, reach, session):
    reference = needed(session, "coins")
    found = coins.find(picture, needed(session, "threshold"), needed(session, "least_area"))
    missing, foreign, damaged = compare(picture, reference, found, reach)
    defects = missing + foreign + damaged
    data = {"count": len(found), "annotated": annotate(picture, defects)}
    if not defects:
        return good(**data)
    reason = f"{len(missing)} missing, {len(foreign)} foreign, {len(damaged)} damaged"
    return not_good(reason, defects[:20], **data)


def compare(picture, reference, found, reach):
    missing, foreign, damaged, known = [], [], [], []
    shift = shift_of(reference, found, 2 * reach)
    for coin in reference:
        there = nearest(found, coins.centre(coin) + shift, reach)
        if there is None:
            missing.append(rect_of(coin, "missing"))
            continue
        known.append(there)
        share, alike = there["area"] / coin["area"], coins.likeness(coin, picture, shift)
        if DAMAGED_SHARE <= share <= 1 / DAMAGED_SHARE and alike >= DAMAGED_LIKENESS:
            continue
        if alike < FOREIGN_LIKENESS and share >= FOREIGN_SHARE:
            foreign.append(rect_of(there, "foreign"))
        else:
            damaged.append(rect_of(there, "damaged"))
    foreign += [rect_of(coin, "foreign") for coin in found if not any(coin is one for one in known)]
    return missing, foreign, damaged


def nearest(found, where, reach):
    """The one that lies nearest to `where`, not farther than `reach`."""
    distances = [numpy.linalg.norm(coins.centre(coin) - where) for coin in found]
    best = int(numpy.argmin(distances)) if distances else 0
    return found[best] if distances and distances[best] <= reach else None


def shift_of(reference, found, reach):
    """How far the camera has moved since the reference: most coins say the same."""
    pairs = [(coin, nearest(found, coins.centre(coin), reach)) for coin in reference]
    moved = [coins.centre(there) - coins.centre(coin) for coin, there in pairs if there]
    return numpy.median(moved, axis=0) if moved else numpy.zeros(2)


def annotate(picture, defects):
    """Draws what was found into a copy of the picture, in the session's folder; the file, to be handed out."""
    shown = picture.copy()
    for rect in defects:
        top, left, bottom, right = rect["y"], rect["x"], rect["y"] + rect["height"], rect["x"] + rect["width"]
        shown[top:bottom, [left, right - 1]] = shown[[top, bottom - 1], left:right] = 255
    write_png("annotated.png", shown)
    return {"file": {"path": "annotated.png", "content_type": "image/png"}}


def needed(session, key):
    if not session.exists(key):
        raise StepError("calibrate and locate first", "step_not_allowed")
    return session.get(key)


def rect_of(coin, label):
    return {**{key: coin[key] for key in ("x", "y", "width", "height")}, "label": label}


def good(**data):
    return {"status": "OK", "data": {"result_status": "OK", **data}}


def not_good(reason, defects, **data):
    return {"status": "OK", "data": {"result_status": "NG", "ng_reason": reason, "defect_rects": defects, **data}}
