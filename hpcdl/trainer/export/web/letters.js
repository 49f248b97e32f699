// Three letters hold 47 bits: see page_letters.py.
function bytesOf(letters, count) {
  const bytes = new Uint8Array(count), digit = at => letters.charCodeAt(at) - 0x0cd0;
  let held = 0, bits = 0, to = 0;
  const add = (number, more) => {
    held = held << more | number;
    for (bits += more; bits >= 8 && to < count; bits -= 8) bytes[to++] = held >> bits - 8;
    held &= (1 << bits) - 1;
  };
  for (let at = 0; to < count; at += 3) {
    const number = (digit(at) * 52016 + digit(at + 1)) * 52016 + digit(at + 2);
    add(Math.floor(number / 2 ** 24), 23);
    add(number % 2 ** 24, 24);
  }
  return bytes;
}
async function inflated(text) {
  const end = text.indexOf(" "), bytes = bytesOf(text.slice(end + 1), Number(text.slice(0, end)));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
