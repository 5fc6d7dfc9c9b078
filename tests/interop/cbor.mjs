// Canonical CBOR as docs/protocol.md, "Numbers, bytes and encoding", has it: arrays, integers, byte strings, UTF-8
// text, booleans and null, with one encoding of each value. All others are refused. An integer is a BigInt, a byte
// string a Buffer.

const MAX_INTEGER = 2n ** 63n - 1n
const MAX_DEPTH = 16
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const UNSIGNED = 0, NEGATIVE = 1, BYTES = 2, TEXT = 3, ARRAY = 4
const FALSE = 0xf4, TRUE = 0xf5, NULL = 0xf6

/** The encoding of a value, a Buffer. */
export function encode (value) {
  if (value === null) return Buffer.of(NULL)
  if (value === true) return Buffer.of(TRUE)
  if (value === false) return Buffer.of(FALSE)
  if (typeof value === 'bigint') return value < 0n ? head(NEGATIVE, -1n - value) : head(UNSIGNED, value)
  if (typeof value === 'string') {
    const text = Buffer.from(value, 'utf8')
    return Buffer.concat([head(TEXT, BigInt(text.length)), text])
  }
  if (value instanceof Uint8Array) return Buffer.concat([head(BYTES, BigInt(value.length)), value])
  if (Array.isArray(value)) return Buffer.concat([head(ARRAY, BigInt(value.length)), ...value.map(encode)])
  throw new TypeError(`no encoding for ${typeof value}`)
}

function head (major, number) {
  if (number < 24n) return Buffer.of(major << 5 | Number(number))
  const size = [1, 2, 4, 8].find(size => number < 1n << BigInt(8 * size))
  const digits = number.toString(16).padStart(2 * size, '0')
  return Buffer.concat([Buffer.of(major << 5 | 24 + Math.log2(size)), Buffer.from(digits, 'hex')])
}

/** The one value that `bytes` encode. Throws for any other bytes. */
export function decode (bytes) {
  const buffer = Buffer.from(bytes)
  const [value, end] = item(buffer, 0, 0)
  if (end !== buffer.length) throw new Error('bytes after the value')
  return value
}

function item (buffer, start, depth) {
  if (start >= buffer.length) throw new Error('the encoding ends early')
  const first = buffer[start]
  if (first === NULL) return [null, start + 1]
  if (first === TRUE) return [true, start + 1]
  if (first === FALSE) return [false, start + 1]
  const [number, next] = argument(buffer, start)
  switch (first >> 5) {
    case UNSIGNED:
    case NEGATIVE: {
      const value = first >> 5 === UNSIGNED ? number : -1n - number
      if (value > MAX_INTEGER || value < -MAX_INTEGER) throw new Error('an integer beyond 63 bits')
      return [value, next]
    }
    case BYTES:
    case TEXT: {
      const end = next + Number(number)
      if (end > buffer.length) throw new Error('the encoding ends early')
      const body = buffer.subarray(next, end)
      return [first >> 5 === BYTES ? body : utf8.decode(body), end]
    }
    case ARRAY: {
      if (depth === MAX_DEPTH) throw new Error('nested too deep')
      if (number > BigInt(buffer.length - next)) throw new Error('the encoding ends early')
      const values = []
      let end = next
      for (let left = number; left > 0n; left--) {
        let value
        [value, end] = item(buffer, end, depth + 1)
        values.push(value)
      }
      return [values, end]
    }
    default:
      throw new Error(`what begins with 0x${first.toString(16)} is not used here`)
  }
}

/** The number after a major type, in its only form, and where the item goes on. */
function argument (buffer, start) {
  const low = buffer[start] & 0x1f
  if (low < 24) return [BigInt(low), start + 1]
  if (low > 27) throw new Error('an indefinite or reserved length')
  const size = 1 << low - 24
  const digits = buffer.subarray(start + 1, start + 1 + size)
  if (digits.length < size) throw new Error('the encoding ends early')
  const number = BigInt(`0x${digits.toString('hex')}`)
  const smallest = size === 1 ? 24n : 1n << BigInt(4 * size)
  if (number < smallest) throw new Error('a number in a longer form than needed')
  return [number, start + 1 + size]
}
