// Checks this folder's own codec, keys and certificates by the project's golden vectors. Argument: the folder of the
// vectors. Prints how many of each were checked; needs nothing but Node.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decode, encode } from './cbor.mjs'
import {
  certificateHash, checkCertificate, committeeHash, headerHash, keyPair, merkleRoot, readAddress, readCertificate,
  readHeader, readTransaction, signatureHolds
} from './ecloud.mjs'

const [folder] = process.argv.slice(2)
const checked = { types: 0, refused: 0, keys: 0, transactions: 0, hashes: 0, committees: 0, valid: 0, invalid: 0 }

function load (name) {
  return JSON.parse(readFileSync(join(folder, name), 'utf8'))
}

function hex (text) {
  return Buffer.from(text, 'hex')
}

const ledger = load('ledger_wire.json')
const node = load('node_wire.json')

for (const encoded of [...Object.values(ledger.types), ...Object.values(node.types)]) {
  assert.equal(encode(decode(hex(encoded))).toString('hex'), encoded)
  assert.throws(() => decode(hex(encoded + '00')), /bytes after/)
  assert.throws(() => decode(hex(encoded).subarray(0, -1)), /ends early/)
  checked.types++
}

// What is not canonical, or not used: long forms, indefinite lengths, tags, maps, floats, undefined, broken text,
// nested too deep
const refused = [
  '1817', '190018', '1a000003e8', '1b00000000000003e8', '5f4101ff', '9f01ff', 'c001', 'a0', 'f93c00', 'f7', '61ff',
  '1bffffffffffffffff', '3b7fffffffffffffff', '5801ff', '9801f6', '81'.repeat(17) + '80', '', '1c'
]
for (const encoded of refused) {
  assert.throws(() => decode(hex(encoded)), undefined, encoded)
  checked.refused++
}
assert.deepEqual(decode(hex('81'.repeat(15) + '80')).flat(16), [])

for (const { seed, public_key: publicKey, address } of ledger.keys) {
  assert.equal(keyPair(hex(seed)).publicKey.toString('hex'), publicKey)
  assert.equal(readAddress(address).toString('hex'), publicKey)
  assert.throws(() => readAddress(address.slice(0, -1) + (address.endsWith('1') ? '2' : '1')), /no address/)
  checked.keys++
}

const chainId = hex(ledger.chain_id)
for (const { id, raw } of Object.values(ledger.transactions)) {
  const transaction = readTransaction(hex(raw))
  assert.equal(transaction.id.toString('hex'), id)
  const holds = body => signatureHolds(transaction.sender, 'ecloud/transaction/1', chainId, body, transaction.signature)
  assert(holds(transaction.bytes))
  assert(!holds(transaction.bytes.subarray(1)))
  checked.transactions++
}

assert.equal(headerHash(readHeader(decode(hex(node.types.Header)))).toString('hex'), node.hashes.header)
const certificate = readCertificate(decode(hex(node.types.Certificate)))
assert.equal(certificateHash(certificate).toString('hex'), node.hashes.certificate)
const root = merkleRoot(['a', 'b', 'c'].map(leaf => Buffer.from(leaf)))
assert.equal(root.toString('hex'), '36642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3ce6c021ec1')
checked.hashes += 3

const { chain_id: signedFor, committees, certificates } = load('certificates.json')
const byName = new Map()
for (const { name, members, hash } of committees) {
  const committee = members.map(member => ({
    account: hex(member.account),
    node_key: hex(member.node_key),
    pool_mvote: BigInt(member.pool_mvote),
    reputation_milli: BigInt(member.reputation_milli),
    weight: BigInt(member.weight)
  }))
  assert.equal(committeeHash(committee).toString('hex'), hash)
  byName.set(name, committee)
  checked.committees++
}
for (const { committee: name, why, encoded, hash, signers, valid } of certificates) {
  const certificate = readCertificate(decode(hex(encoded)))
  assert.equal(certificateHash(certificate).toString('hex'), hash)
  const check = () => checkCertificate(certificate, byName.get(name), hex(signedFor))
  if (valid) assert.equal(check(), signers.length, why)
  else assert.throws(check, undefined, why)
  checked[valid ? 'valid' : 'invalid']++
}

console.log(JSON.stringify(checked))
