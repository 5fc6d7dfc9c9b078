// Follows a chain from its genesis by headers and finalize certificates, and believes nobody.
//
// `tip` is the last header that is final beyond doubt. A header is taken as the next one if it names the tip's hash as
// its parent and a quorum of the committee whose hash the tip carries has signed it. Committees may come from anybody:
// only one has the hash.

import { FINALIZE, checkCertificate, committeeHash, headerHash, merkleRoot, readGenesis } from './ecloud.mjs'

/** The header is known already, or comes too early: nobody's fault. */
export class NotNext extends Error {}

export class LightClient {
  /** `findCommittee(height)` is asked for committees that are not known yet. */
  constructor (genesisBytes, findCommittee) {
    const { chainId, committee } = readGenesis(genesisBytes)
    this.chainId = chainId
    this.findCommittee = findCommittee
    this.height = 0n
    this.hashes = [chainId] // by height
    this.timeMs = 0n
    this.committee = committee
    this.committees = 1 // how many there have been
    this.signatures = 0 // how many were verified
  }

  /** Takes the next header with its certificate, one at a time. Throws NotNext; Error for what no honest node sends. */
  async take (header, certificate) {
    if (!header.chain_id.equals(this.chainId)) throw new Error('a header of another chain')
    const { height } = header
    if (height !== this.height + 1n) throw new NotNext(`height ${height} on ${this.height}`)
    const hash = headerHash(header)
    if (!header.parent_hash.equals(this.hashes.at(-1))) throw new Error(`height ${height} does not follow`)
    if (header.time_ms <= this.timeMs) throw new Error(`height ${height} is not later`)
    if (certificate.kind !== FINALIZE || certificate.height !== height || !hash.equals(certificate.block_hash)) {
      throw new Error(`the certificate does not make height ${height} final`)
    }
    this.signatures += checkCertificate(certificate, this.committee, this.chainId)
    const committee = await this.nextCommittee(header)
    if (committee !== this.committee) this.committees++
    Object.assign(this, { height, committee, timeMs: header.time_ms })
    this.hashes.push(hash)
  }

  /** Who signs the block after `header`. */
  async nextCommittee ({ height, committee_hash: hash }) {
    if (committeeHash(this.committee).equals(hash)) return this.committee
    const committee = await this.findCommittee(height + 1n)
    if (!committeeHash(committee).equals(hash)) throw new Error(`not the committee of height ${height + 1n}`)
    return committee
  }
}

/** Throws unless the transactions of a block are those that its header names. */
export function checkTransactions ({ header, transactions }) {
  const root = merkleRoot(transactions.map(transaction => transaction.id))
  if (!root.equals(header.transactions_root)) throw new Error(`other transactions than those of ${header.height}`)
}
