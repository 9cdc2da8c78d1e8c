/** Where frames come from: a camera, a video, an image. */

import { UserError } from "./errors.ts";

const CAMERA = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 60 } };
const REFUSED: Record<string, string> = {
  NotAllowedError: "The camera was refused; allow it in the browser's address bar and press Camera again, or open an image or a video.",
  NotFoundError: "No camera was found; connect one and press Camera again, or open an image or a video.",
  NotReadableError: "The camera is used by another program; close that and press Camera again, or open an image or a video.",
};

/** A camera's stream. deviceId: "" for the one that the browser prefers, which is taken, too, where that camera is gone. */
export async function openCamera(deviceId: string): Promise<MediaStream> {
  if (!navigator.mediaDevices) {
    throw new UserError("Browsers give their camera only to pages of this machine or by https; open http://127.0.0.1 instead.");
  }
  const device = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...CAMERA, ...device } });
  } catch (error) {
    const name = error instanceof Error ? error.name : "";
    if (deviceId && (name === "OverconstrainedError" || name === "NotFoundError")) return openCamera("");
    throw new UserError(REFUSED[name] ?? `The camera can't be opened (${name}); open an image or a video.`);
  }
}

/** Pixels as they are in the file, upright by its orientation tag. */
export async function openImage(file: File): Promise<ImageBitmap> {
  try {
    return await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new UserError(`${file.name}: ${file.size} bytes that this browser can't read as an image; try JPEG or PNG.`);
  }
}

/** Play a stream, or a video file. Ends when the first frame is there, or when something else is played instead. */
export async function play(video: HTMLVideoElement, source: MediaStream | File): Promise<void> {
  const name = source instanceof File ? source.name : "The camera";
  video.loop = false;
  if (source instanceof MediaStream) video.srcObject = source;
  else video.src = URL.createObjectURL(source);
  try {
    await new Promise<void>((resolve, reject) => {
      video.onloadeddata = () => resolve();
      video.onerror = () => reject(new Error());
      video.play().catch(reject);
    });
  } catch {
    throw new UserError(`${name}: can't be played by this browser; try MP4 (H.264), WebM, or an image.`);
  }
  if (!video.videoWidth) throw new UserError(`${name}: has sound only; choose a video or an image.`);
}

/** Stop and forget what is played. */
export function halt(video: HTMLVideoElement): void {
  video.onloadeddata = video.onerror = video.onended = null;
  video.pause();
  if (video.srcObject instanceof MediaStream) release(video.srcObject);
  video.srcObject = null;
  if (video.src) {
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  }
}

/** Let others have a camera. */
export function release(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

/** When the next frame of a video is there, and its time in seconds. */
export function nextFrame(video: HTMLVideoElement): Promise<number> {
  return new Promise((resolve) => {
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback((_, frame) => resolve(frame.mediaTime));
    else requestAnimationFrame(() => resolve(video.currentTime));
  });
}
