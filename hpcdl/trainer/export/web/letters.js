// A letter holds 15 bits: see page_text.py.
function bytesOf(letters, count) {
  const bytes = new Uint8Array(count);
  let held = 0, bits = 0, to = 0;
  for (let at = 0; to < count; at++) {
    held = held << 15 | letters.charCodeAt(at) - 0x3400;
    for (bits += 15; bits >= 8 && to < count; bits -= 8) bytes[to++] = held >> bits - 8;
    held &= (1 << bits) - 1;
  }
  return bytes;
}
async function inflated(text) {
  const end = text.indexOf(" "), bytes = bytesOf(text.slice(end + 1), Number(text.slice(0, end)));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
