// Pictures that a person pastes or drops: made small enough, and kept as models read them.

const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];
const MOST_SIDE = 1568;
export const MOST_PICTURES = 4;

/** The files among what was pasted or dropped. */
export function filesIn(transfer) {
  return [...(transfer?.files ?? [])];
}

export function isPicture(file) {
  return KINDS.includes(file.type);
}

/** A picture as base64, without what a camera wrote beside it. */
export async function asBase64(file) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, MOST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const isPhoto = file.type === "image/jpeg" || file.type === "image/webp";
  return canvas.toDataURL(isPhoto ? "image/jpeg" : "image/png", 0.9).split(",")[1];
}

/** An address for showing a picture. */
export function address(base64) {
  const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: base64.startsWith("/9j/") ? "image/jpeg" : "image/png" }));
}
