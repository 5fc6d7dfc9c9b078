// A client of E-Cloud that shares no code with it: joins a running chain over js-libp2p, follows and verifies it, pays,
// sees the payment final, and prints what it saw as one JSON object.
//
// Standard input, one JSON object: `address` of a node with its /p2p/ part, `genesis` a path, `api` its URL (asked for
// committees after the first), `seed` of the account that pays, `recipient`, both hexadecimal, `amount_uwatt`, and
// `height`, to which to follow at least.

import './polyfill.mjs'
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { multiaddr } from '@multiformats/multiaddr'
import { encode } from './cbor.mjs'
import { keyPair, makeTransfer, readAddress, topic } from './ecloud.mjs'
import { Follower } from './follower.mjs'
import { LightClient } from './light_client.mjs'
import { ask, startPeer } from './peer.mjs'

const FEE_UWATT = 1_000n
const VALID_BLOCKS = 100n
const GIVES_UP_AFTER_MS = 120_000

async function main (settings) {
  const libp2p = await startPeer()
  const chain = new LightClient(await readFile(settings.genesis), height => fetchCommittee(settings.api, height))
  const identification = new Promise(resolve => libp2p.addEventListener('peer:identify', resolve, { once: true }))
  const follower = new Follower(libp2p, chain)
  await follower.join(multiaddr(settings.address))

  const { detail: identified } = await identification
  const pingMs = await libp2p.services.ping.ping(follower.node)
  const status = await follower.nodeStatus()
  const refusal = await ask(libp2p, follower.node, '/ecloud/blocks/1', encode([1n, 0n])).catch(error => error.message)

  const keys = keyPair(Buffer.from(settings.seed, 'hex'))
  const past = await follower.catchUp(status.height)
  const nonce = past.flatMap(block => block.transactions).filter(({ sender }) => sender.equals(keys.publicKey)).length
  const caughtUp = chain.height

  follower.subscribe()
  await follower.untilHeight(caughtUp + 2n)
  const before = chain.height
  const payment = makeTransfer(keys, chain.chainId, {
    nonce: BigInt(nonce),
    fee_uwatt: FEE_UWATT,
    valid_until_height: before + VALID_BLOCKS,
    recipient: Buffer.from(settings.recipient, 'hex'),
    amount: BigInt(settings.amount_uwatt),
    memo: 'from afar'
  })
  const recipients = await publish(libp2p, topic(chain.chainId, 'transactions'), [[payment.raw], BigInt(Date.now())])
  const paidAt = await follower.untilFinal(payment.id, before + 1n)
  await follower.untilHeight(BigInt(settings.height))

  const report = {
    node: follower.node,
    identified: { agent: identified.agentVersion, protocols: identified.protocols },
    ping_ms: pingMs,
    status: { height: status.height, chain_id: status.chain_id.toString('hex') },
    statuses_asked: follower.statusesAsked,
    refusal,
    caught_up: caughtUp,
    height: chain.height,
    hash: chain.hashes.at(-1).toString('hex'),
    announced: follower.announced,
    rejected: follower.rejected,
    authors: [...follower.authors],
    in_mesh: libp2p.services.gossip.getMeshPeers(follower.topic).length,
    signatures: chain.signatures,
    committees: chain.committees,
    payment: { id: payment.id.toString('hex'), nonce, recipients, height_before: before, height: paidAt }
  }
  await libp2p.stop()
  return report
}

async function publish (libp2p, topicName, message) {
  const { recipients } = await libp2p.services.gossip.publish(topicName, encode(message))
  return recipients.length
}

/** Of the local API of any node; whoever asks checks its hash. */
async function fetchCommittee (api, height) {
  const response = await fetch(`${api}/v1/committee?height=${height}`)
  if (!response.ok) throw new Error(`no committee of height ${height}: ${response.status}`)
  const { members } = await response.json()
  return members.map(member => ({
    account: readAddress(member.account.address),
    node_key: Buffer.from(member.node_key, 'hex'),
    pool_mvote: BigInt(member.pool_mvote),
    reputation_milli: BigInt(member.reputation_milli),
    weight: BigInt(member.weight)
  }))
}

setTimeout(() => { throw new Error('not in time') }, GIVES_UP_AFTER_MS).unref()
const report = await main(JSON.parse(await text(process.stdin)))
console.log(JSON.stringify(report, (_, value) => typeof value === 'bigint' ? Number(value) : value))
process.exit(0)
