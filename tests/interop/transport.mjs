// Puts one connection with a peer under load, in both directions: what this peer asks and publishes it checks itself,
// and prints; what it is asked it answers. Ends when its standard input does.
//
// Argument, one JSON object: `topic`; `messages`, how many to publish and to await, of `message_bytes` each, the n-th
// of them filled with byte n; `address` of the peer. Without an address it listens, and prints where.

import './polyfill.mjs'
import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { multiaddr } from '@multiformats/multiaddr'
import { answer, ask, startPeer } from './peer.mjs'

const GROW = '/interop/grow/1' // a request of n bytes is answered by GROWTH times the same
const GROWTH = 128
const REQUEST_BYTES = 64 * 1024
const AT_ONCE = 16
const SMALL_REQUESTS = 100
const GIVES_UP_AFTER_MS = 60_000

function grown (request) {
  return Buffer.concat(Array(GROWTH).fill(request))
}

async function main (settings) {
  const listen = settings.address === undefined ? ['/ip4/127.0.0.1/tcp/0'] : []
  const libp2p = await startPeer({ listen })
  const { gossip, ping } = libp2p.services
  await answer(libp2p, GROW, grown)
  const heard = hear(gossip, settings)
  const identified = new Promise(resolve => libp2p.addEventListener('peer:identify', resolve, { once: true }))
  if (settings.address === undefined) print({ listening: libp2p.getMultiaddrs().map(String)[0] })
  else await libp2p.dial(multiaddr(settings.address))
  const { detail: { peerId, connection } } = await identified

  const asked = async size => {
    const request = randomBytes(size)
    return (await ask(libp2p, peerId, GROW, request)).equals(grown(request))
  }
  const pings = [await ping.ping(peerId), await ping.ping(peerId)]
  const large = await asked(REQUEST_BYTES)
  const together = await Promise.all(Array(AT_ONCE).fill(REQUEST_BYTES / AT_ONCE).map(asked))
  let small = 0
  for (let index = 0; index < SMALL_REQUESTS; index++) small += await asked(1)
  await subscribed(gossip, settings.topic, peerId)
  for (let index = 0; index < settings.messages; index++) {
    await gossip.publish(settings.topic, Buffer.alloc(settings.message_bytes, index))
  }
  print({
    direction: connection.direction,
    multiplexer: connection.multiplexer,
    encryption: connection.encryption,
    pings: pings.length,
    large,
    together: together.filter(Boolean).length,
    small,
    heard: await heard,
    mesh: gossip.getMeshPeers(settings.topic)
  })
  process.stdin.resume()
  await once(process.stdin, 'end')
  await libp2p.stop()
}

/** The first byte of each message, once all are there and whole. */
async function hear (gossip, { topic, messages, message_bytes: size }) {
  const first = new Set()
  const all = new Promise(resolve => {
    gossip.addEventListener('message', ({ detail: { data } }) => {
      if (data.length === size && data.every(byte => byte === data[0])) first.add(data[0])
      if (first.size === messages) resolve()
    })
  })
  gossip.subscribe(topic)
  await all
  return [...first].sort((one, other) => one - other)
}

async function subscribed (gossip, topic, peer) {
  while (!gossip.getSubscribers(topic).some(other => other.equals(peer))) {
    await new Promise(resolve => gossip.addEventListener('subscription-change', resolve, { once: true }))
  }
}

function print (object) {
  console.log(JSON.stringify(object))
}

setTimeout(() => { throw new Error('not in time') }, GIVES_UP_AFTER_MS).unref()
await main(JSON.parse(process.argv[2]))
process.exit(0)
