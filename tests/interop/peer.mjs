// A libp2p peer as any js-libp2p program has it, and our streams of one request and one answer over it.

import './polyfill.mjs'
import { createHash } from 'node:crypto'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'

const MAX_REQUEST_BYTES = 64 * 1024
const MAX_ANSWER_BYTES = 8 * 1024 * 1024
const OK = 0

/** Starts a peer with a key of its own. Settings are js-libp2p's defaults, but for the message id. */
export async function startPeer ({ listen = [] } = {}) {
  return await createLibp2p({
    addresses: { listen },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: {
      identify: identify(),
      ping: ping(),
      gossip: gossipsub({
        globalSignaturePolicy: 'StrictSign',
        msgIdFn: message => createHash('sha256').update(message.data).digest(),
        fallbackToFloodsub: false
      })
    }
  })
}

/** The answer to `request`, a Buffer. Throws if it is refused, with the reason. */
export async function ask (libp2p, peer, protocol, request) {
  const stream = await libp2p.dialProtocol(peer, protocol)
  try {
    stream.send(framed(request))
    const reader = new Reader(stream)
    const status = (await reader.take(1))[0]
    const answer = await reader.frame(MAX_ANSWER_BYTES)
    if (status !== OK) throw new Error(`refused: ${answer.toString('utf8')}`)
    return answer
  } finally {
    await stream.close()
  }
}

/** Answers each request of a protocol by what `handler(request)` returns. */
export async function answer (libp2p, protocol, handler) {
  await libp2p.handle(protocol, async stream => {
    const request = await new Reader(stream).frame(MAX_REQUEST_BYTES)
    stream.send(Buffer.concat([Buffer.of(OK), framed(handler(request))]))
    await stream.close()
  })
}

function framed (payload) {
  const length = []
  let rest = payload.length
  for (; rest > 0x7f; rest >>= 7) length.push(rest & 0x7f | 0x80)
  return Buffer.concat([Buffer.of(...length, rest), payload])
}

/** Takes bytes off a stream. */
class Reader {
  constructor (stream) {
    this.chunks = stream[Symbol.asyncIterator]()
    this.unread = []
    this.size = 0
  }

  async take (count) {
    while (this.size < count) {
      const { value, done } = await this.chunks.next()
      if (done) throw new Error(`the stream ended after ${this.size} of ${count} bytes`)
      this.unread.push(value.subarray())
      this.size += value.byteLength
    }
    const bytes = Buffer.concat(this.unread)
    this.unread = [bytes.subarray(count)]
    this.size -= count
    return bytes.subarray(0, count)
  }

  async frame (limit) {
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = (await this.take(1))[0]
      length += (byte & 0x7f) * 2 ** shift
      if (length > limit || shift > 28) throw new Error('more bytes announced than allowed')
      if (byte < 0x80) return await this.take(length)
    }
  }
}
