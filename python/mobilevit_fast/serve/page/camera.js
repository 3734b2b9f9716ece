// The camera: its picture on the stage, and frames of it as JPEG.

const video = document.getElementById("video");
const LONGEST = 640;

let stream = null;

export function isOn() {
  return stream !== null;
}

export async function start() {
  if (!navigator.mediaDevices) {
    throw new Error("this browser gives cameras only to pages from this machine or over https");
  }
  stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  video.srcObject = stream;
  video.hidden = false;
  await video.play();
}

export function stop() {
  for (const part of stream?.getTracks() ?? []) part.stop();
  stream = null;
  video.srcObject = null;
  video.hidden = true;
}

export function frame() {
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(scale * video.videoWidth);
  canvas.height = Math.round(scale * video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
}
