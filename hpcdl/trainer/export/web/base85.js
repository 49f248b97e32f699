// Base 85 as Python's b85encode has it, with a comma for "<": 5 letters are 4 bytes.
function bytesOf(text) {
  const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
  const values = new Uint8Array(128);
  for (let at = 0; at < 85; at++) values[letters.charCodeAt(at)] = at;
  const bytes = new Uint8Array(text.length / 5 * 4), view = new DataView(bytes.buffer);
  for (let from = 0, to = 0; from < text.length; from += 5, to += 4) {
    let number = 0;
    for (let at = 0; at < 5; at++) number = 85 * number + values[text.charCodeAt(from + at)];
    view.setUint32(to, number);
  }
  return bytes;
}
async function inflated(text) {
  // The padding behind the end is cut off: a stream that goes on after its end is an error
  const bytes = bytesOf(text.slice(text.indexOf(" ") + 1)), used = bytes.subarray(0, Number(text.slice(0, text.indexOf(" "))));
  const stream = new Blob([used]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
