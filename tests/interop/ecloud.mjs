// What a client that follows a chain and pays has to know of docs/protocol.md: keys, hashes, headers, committees,
// certificates, transactions. Structures are objects with the field names of that page.

import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto'
import { decode, encode } from './cbor.mjs'

const HEADER = [
  'version', 'chain_id', 'height', 'view', 'time_ms', 'parent_hash', 'producer', 'beacon_proof', 'transactions_root',
  'receipts_root', 'state_root', 'parent_certificate_hash', 'committee_hash'
]
const CERTIFICATE = ['kind', 'height', 'view', 'block_hash', 'signers', 'signatures']
const MEMBER = ['account', 'node_key', 'pool_mvote', 'reputation_milli', 'weight']
const STATUS = ['version', 'chain_id', 'height', 'block_hash', 'wall_ms', 'floor']
const BODY = ['version', 'chain_id', 'sender', 'nonce', 'fee_uwatt', 'valid_until_height', 'kind', 'payload']
const GENESIS = [
  'name', 'time_ms', 'parameters', 'feeders', 'members', 'meters', 'grid_supply_ugrid', 'grid_reserve_ugrid'
]
const GENESIS_MEMBER = ['account', 'name', 'roles', 'feeder', 'node_key', 'watt_uwatt', 'grid_ugrid', 'voting_rule']
const INITIAL_BALLOT = 13 // its place among the parameters

export const FINALIZE = 3n
const NOTARIZE = 1n
const NULLIFY = 2n
const TRANSFER = 1n
const WATT = 1n
const PROTOCOL_VERSION = 2n

function structure (fields, values) {
  if (!Array.isArray(values) || values.length !== fields.length) throw new Error(`a structure has not: ${fields}`)
  return Object.fromEntries(fields.map((field, index) => [field, values[index]]))
}

function flat (fields, object) {
  return fields.map(field => object[field])
}

// Hashes and keys

export function sha256 (...parts) {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

/** The root of the Merkle tree of RFC 6962 over `leaves`, an array of byte strings. */
export function merkleRoot (leaves) {
  if (leaves.length === 0) return sha256()
  if (leaves.length === 1) return sha256(Buffer.of(0), leaves[0])
  let half = 1
  while (half * 2 < leaves.length) half *= 2
  return sha256(Buffer.of(1), merkleRoot(leaves.slice(0, half)), merkleRoot(leaves.slice(half)))
}

const SECRET_KEY = Buffer.from('302e020100300506032b657004220420', 'hex') // PKCS #8 up to the seed
const PUBLIC_KEY = Buffer.from('302a300506032b6570032100', 'hex') // SubjectPublicKeyInfo up to the key

/** An Ed25519 key pair from its seed of 32 bytes: { publicKey, sign(domain, chainId, message) }. */
export function keyPair (seed) {
  const secret = createPrivateKey({ key: Buffer.concat([SECRET_KEY, seed]), format: 'der', type: 'pkcs8' })
  return {
    publicKey: createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(PUBLIC_KEY.length),
    sign: (domain, chainId, message) => sign(null, Buffer.concat([Buffer.from(domain), chainId, message]), secret)
  }
}

export function signatureHolds (publicKey, domain, chainId, message, signature) {
  const key = createPublicKey({ key: Buffer.concat([PUBLIC_KEY, publicKey]), format: 'der', type: 'spki' })
  return verify(null, Buffer.concat([Buffer.from(domain), chainId, message]), key, signature)
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const ADDRESS_VERSION = 0x45

/** The public key that an address stands for. */
export function readAddress (address) {
  if (!address.startsWith('ec')) throw new Error('no address')
  const number = [...address.slice(2)].reduce((sum, digit) => {
    if (!BASE58.includes(digit)) throw new Error('no address')
    return sum * 58n + BigInt(BASE58.indexOf(digit))
  }, 0n)
  const bytes = Buffer.from(number.toString(16).padStart(74, '0'), 'hex')
  const [named, checksum] = [bytes.subarray(0, 33), bytes.subarray(33)]
  const genuine = sha256(sha256(named)).subarray(0, 4).equals(checksum)
  if (named[0] !== ADDRESS_VERSION || !genuine) throw new Error('no address')
  return named.subarray(1)
}

// Genesis and committees

/** The chain's beginning from its file: the chain id, the members, and the committee of the first heights. */
export function readGenesis (bytes) {
  const genesis = structure(GENESIS, decode(bytes))
  const members = genesis.members.map(member => structure(GENESIS_MEMBER, member))
  const ballot = genesis.parameters[INITIAL_BALLOT]
  const founders = members.filter(member => member.node_key !== null)
    .sort((one, other) => Buffer.compare(one.account, other.account))
  return {
    chainId: sha256('ecloud/genesis/1', bytes),
    members,
    committee: founders.map(({ account, node_key }) => ({
      account, node_key, pool_mvote: ballot, reputation_milli: 0n, weight: equalWeight(ballot, founders.length)
    }))
  }
}

/** A member's weight where all pools are equal, and so the median is one of them. */
function equalWeight (pool, count) {
  const smallest = larger(1n, pool / 2n)
  const largest = smallest * larger(1n, BigInt(Math.floor((count - 1) / 3)))
  const weight = larger(pool, smallest)
  return weight < largest ? weight : largest
}

function larger (one, other) {
  return one > other ? one : other
}

export function committeeHash (committee) {
  return sha256('ecloud/committee/1', encode([committee.map(member => flat(MEMBER, member))]))
}

// Headers and certificates

export function readHeader (values) {
  return structure(HEADER, values)
}

export function headerHash (header) {
  return sha256('ecloud/header/1', encode(flat(HEADER, header)))
}

export function readCertificate (values) {
  return structure(CERTIFICATE, values)
}

export function certificateHash (certificate) {
  return sha256('ecloud/certificate/1', encode(flat(CERTIFICATE, certificate)))
}

/**
 * How many signatures of the committee the certificate carries. Throws unless all of them are true and their weight is
 * a quorum's.
 */
export function checkCertificate (certificate, committee, chainId) {
  const { kind, height, view, block_hash: blockHash, signers, signatures } = certificate
  if (![NOTARIZE, NULLIFY, FINALIZE].includes(kind)) throw new Error('no certificate of this kind')
  if ((blockHash === null) !== (kind === NULLIFY)) throw new Error('only a nullification names no block')
  if (signers.length !== Math.ceil(committee.length / 8)) throw new Error('a bitmap of another committee')
  const signing = committee.filter((_, seat) => bit(signers, seat))
  const bits = [...signers].reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
  if (bits !== signing.length) throw new Error('a signer beyond the committee')
  if (signatures.length !== 64 * signing.length) throw new Error('not one signature for each signer')
  const statement = encode([kind, height, view, blockHash])
  signing.forEach((member, index) => {
    const signature = signatures.subarray(64 * index, 64 * index + 64)
    if (!signatureHolds(member.node_key, 'ecloud/vote/1', chainId, statement, signature)) {
      throw new Error(`not the signature of ${member.account.toString('hex')}`)
    }
  })
  const weigh = members => members.reduce((sum, member) => sum + member.weight, 0n)
  if (3n * weigh(signing) <= 2n * weigh(committee)) throw new Error('no quorum')
  return signing.length
}

function bit (bitmap, index) {
  return bitmap[index >> 3] >> (index & 7) & 1
}

// Blocks and transactions

/** What one entry of the answer of /ecloud/blocks/1 holds. */
export function readStoredBlock ([block, certificate]) {
  const [header, , transactions] = decode(block)
  return {
    header: readHeader(header),
    certificate: readCertificate(decode(certificate)),
    transactions: transactions.map(readTransaction)
  }
}

export function readTransaction (raw) {
  const [body, signature] = decode(raw)
  return { id: sha256(body), signature, bytes: body, ...structure(BODY, decode(body)) }
}

/** A signed transfer of uwatt: { id, raw }. `terms`: nonce, fee_uwatt, valid_until_height, recipient, amount, memo. */
export function makeTransfer (keys, chainId, terms) {
  const payload = [terms.recipient, WATT, terms.amount, terms.memo]
  const body = encode([
    1n, chainId, keys.publicKey, terms.nonce, terms.fee_uwatt, terms.valid_until_height, TRANSFER, payload
  ])
  return { id: sha256(body), raw: encode([body, keys.sign('ecloud/transaction/1', chainId, body)]) }
}

// Between nodes

export function topic (chainId, name) {
  return `/ecloud/${chainId.toString('hex').slice(0, 16)}/${name}/1`
}

export function makeStatus (chainId, height, blockHash) {
  return encode([PROTOCOL_VERSION, chainId, height, blockHash, BigInt(Date.now()), 0n])
}

export function readStatus (bytes) {
  return structure(STATUS, decode(bytes))
}
