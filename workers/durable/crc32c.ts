/** CRC-32C (Castagnoli), eight bytes at a time: some 1 ns per byte or less. */

const NONE = new Int32Array(0);

/** Eight tables of 256: what a byte does to the checksum when 0 to 7 bytes follow it. */
const TABLES = new Int32Array(8 * 256);

for (let byte = 0; byte < 256; byte++) {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  TABLES[byte] = crc;
}
for (let i = 256; i < TABLES.length; i++) {
  const before = TABLES[i - 256];
  TABLES[i] = (before >>> 8) ^ TABLES[before & 255];
}

/** The checksum of some bytes, or of some more: `crc` is that of what stands before them. Unsigned. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const t = TABLES;
  const { length } = bytes;
  let c = ~crc;
  let i = 0;
  for (; i < length && ((bytes.byteOffset + i) & 3) !== 0; i++) c = t[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  const pairs = (length - i) >> 3;
  // Little-endian, like everything in these formats and all platforms with shared memory.
  const words = pairs === 0 ? NONE : new Int32Array(bytes.buffer, bytes.byteOffset + i, pairs * 2);
  for (let w = 0; w < words.length; w += 2) {
    const a = c ^ words[w];
    const b = words[w + 1];
    c =
      t[1792 + (a & 255)] ^
      t[1536 + ((a >>> 8) & 255)] ^
      t[1280 + ((a >>> 16) & 255)] ^
      t[1024 + (a >>> 24)] ^
      t[768 + (b & 255)] ^
      t[512 + ((b >>> 8) & 255)] ^
      t[256 + ((b >>> 16) & 255)] ^
      t[b >>> 24];
  }
  for (i += pairs * 8; i < length; i++) c = t[(c ^ bytes[i]) & 255] ^ (c >>> 8);
  return ~c >>> 0;
}
