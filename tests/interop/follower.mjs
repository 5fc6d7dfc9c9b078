// A light client at a node: what was before it asks for over streams, what comes it hears by gossip. All of it goes
// through the light client's checks.

import { decode, encode } from './cbor.mjs'
import {
  headerHash, makeStatus, readCertificate, readHeader, readStatus, readStoredBlock, topic
} from './ecloud.mjs'
import { NotNext, checkTransactions } from './light_client.mjs'
import { answer, ask } from './peer.mjs'

const STATUS = '/ecloud/status/2'
const BLOCKS = '/ecloud/blocks/1'
const RANGE = 64n

export class Follower {
  constructor (libp2p, chain) {
    this.libp2p = libp2p
    this.chain = chain
    this.topic = topic(chain.chainId, 'blocks')
    this.authors = new Set()
    this.announced = 0 // verified as the next header when they came
    this.rejected = []
    this.statusesAsked = 0
    this.progressed = Promise.withResolvers()
  }

  /** Connects to a node, which may ask at once where we stand. */
  async join (address) {
    await answer(this.libp2p, STATUS, request => {
      readStatus(request)
      this.statusesAsked++
      return this.ownStatus()
    })
    this.node = (await this.libp2p.dial(address)).remotePeer
  }

  /** A light client has no blocks to serve, so it stands at the beginning. */
  ownStatus () {
    return makeStatus(this.chain.chainId, 0n, this.chain.chainId)
  }

  async nodeStatus () {
    return readStatus(await ask(this.libp2p, this.node, STATUS, this.ownStatus()))
  }

  /** Blocks `first` … as many as the node sends at once, their transactions checked, their finality not. */
  async blocks (first, count) {
    const stored = decode(await ask(this.libp2p, this.node, BLOCKS, encode([first, count])))
    const blocks = stored.map(readStoredBlock)
    blocks.forEach(checkTransactions)
    return blocks
  }

  /** Follows up to a height over streams; returns the blocks on the way. */
  async catchUp (height) {
    const all = []
    while (this.chain.height < height) {
      for (const block of await this.blocks(this.chain.height + 1n, RANGE)) {
        await this.chain.take(block.header, block.certificate)
        all.push(block)
      }
    }
    return all
  }

  /** Follows by gossip from now on. */
  subscribe () {
    const { gossip } = this.libp2p.services
    let turn = Promise.resolve()
    gossip.topicValidators.set(this.topic, (_, message) => {
      turn = turn.then(() => this.judge(message)) // one after the other; it does not throw
      return turn
    })
    gossip.subscribe(this.topic)
  }

  /** What a member of the mesh must find out before it passes an announcement on. */
  async judge (message) {
    try {
      const [header, certificate] = decode(message.data)
      await this.takeAnnounced(readHeader(header), readCertificate(certificate))
    } catch (error) {
      if (error instanceof NotNext) return 'ignore'
      this.rejected.push(error.message)
      return 'reject'
    }
    this.announced++
    this.authors.add(message.from.toString())
    this.progressed.resolve()
    this.progressed = Promise.withResolvers()
    return 'accept'
  }

  async takeAnnounced (header, certificate) {
    if (header.height > this.chain.height + 1n) await this.catchUp(header.height - 1n)
    await this.chain.take(header, certificate)
  }

  async untilHeight (height) {
    while (this.chain.height < height) await this.progressed.promise
  }

  /** The height of the final block with this transaction, from `height` on. */
  async untilFinal (id, height) {
    for (;;) {
      await this.untilHeight(height)
      const [block] = await this.blocks(height, 1n)
      if (block === undefined) { // announced, and not yet stored by the node
        await this.progressed.promise
        continue
      }
      if (!headerHash(block.header).equals(this.chain.hashes[Number(height)])) throw new Error('another block')
      if (block.transactions.some(transaction => transaction.id.equals(id))) return height
      height++
    }
  }
}
