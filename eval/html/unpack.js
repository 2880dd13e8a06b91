// Unpacks the parts in which the page holds its items (eval/packing.py), and keeps those that were used last.
// For browse.js. A part is zlib-compressed JSON as base64; part 0 of a benchmark is its index.

/** @param {{offsets: number[]}[]} benchmarks the number of the first item of each part, and of all items. */
function unpacker(benchmarks) {
  const KEPT = 48 << 20;       // characters of unpacked parts that are kept
  const parts = new Map();     // "benchmark-part" -> [value, size], the one used longest ago first
  let kept = 0;

  async function unpack(benchmark, part) {
    const name = `${benchmark}-${part}`;
    if (!parts.has(name)) {
      const binary = atob(document.getElementById(`part-${name}`).textContent);
      const bytes = new Uint8Array(binary.length);
      for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
      const text = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).text();
      if (!parts.has(name)) kept += text.length;  // asked for twice at once
      parts.set(name, [JSON.parse(text), text.length]);
      for (const [old, [, size]] of parts) {
        if (kept <= KEPT || old === name) break;
        parts.delete(old);
        kept -= size;
      }
    }
    const found = parts.get(name);
    parts.delete(name);
    parts.set(name, found);
    return found[0];
  }

  // The part that an item is in: the last that begins at or before it.
  function partOf(number, item) {
    const { offsets } = benchmarks[number];
    let low = 0, high = offsets.length - 2;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (offsets[middle] <= item) low = middle; else high = middle - 1;
    }
    return low;
  }

  async function itemOf(number, item) {
    const part = partOf(number, item);
    return (await unpack(number, part + 1))[item - benchmarks[number].offsets[part]];
  }

  return { unpack, partOf, itemOf };
}
