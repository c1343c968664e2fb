// The reference library's WebAssembly build, as browsers run it: commands in, a line each; events out, a JSON object a line.
// node peer.mjs FOLDER, which has `rln.wasm`, the circuit, and `rln_final.zkey`, its key.
//   identity SEED
//   prove SECRET LIMIT ID INDEX SIBLINGS EPOCH IDENTIFIER SIGNAL
//   verify SNARK ROOT EPOCH X Y NULLIFIER IDENTIFIER SIGNAL ROOT[,ROOT]
// LIMIT, ID and INDEX are decimal; all else is hex, elements little-endian, SIBLINGS in one piece from the leaf upwards. It hashes by
// itself what a proof is bound to: epoch with identifier, and the signal.
import fs from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { createRequire } from 'node:module'
import init, * as rln from '@waku/zerokit-rln-wasm'
import { circuit } from './circuit.mjs'

const [folder] = process.argv.slice(2)
const emit = (event, fields = {}) => console.log(JSON.stringify({ event, t: Date.now(), ...fields }))
const fail = error => {
  emit('error', { error: String(error?.message ?? error) })
  process.exit(1)
}
process.on('unhandledRejection', fail)

const [DEPTH, SNARK, ELEMENT] = [20, 128, 32]
const hex = bytes => Buffer.from(bytes).toString('hex')
const bytes = text => Uint8Array.from(Buffer.from(text, 'hex'))
const joined = (...parts) => Uint8Array.from(Buffer.concat(parts))
const count = number => {
  const word = Buffer.alloc(8)
  word.writeBigUInt64LE(BigInt(number))
  return word
}
const number = decimal => joined(count(decimal), Buffer.alloc(ELEMENT - 8))
const external = (epoch, identifier) => rln.poseidonHash(joined(count(2), bytes(epoch), bytes(identifier)))

const module_or_path = fs.readFileSync(createRequire(import.meta.url).resolve('@waku/zerokit-rln-wasm/rln_wasm_bg.wasm'))
await init({ module_or_path })
rln.initPanicHook()
const key = rln.newRLN(Uint8Array.from(fs.readFileSync(path.join(folder, 'rln_final.zkey'))))
const solve = await circuit(fs.readFileSync(path.join(folder, 'rln.wasm')))

const commands = {
  identity: seed => {
    const keys = rln.generateSeededExtendedMembershipKey(key, bytes(seed))
    const [trapdoor, nullifier, secret, commitment] = [0, 1, 2, 3].map(n => hex(keys.subarray(n * ELEMENT, (n + 1) * ELEMENT)))
    return { trapdoor, nullifier, secret, commitment }
  },

  prove: async (secret, limit, id, index, siblings, epoch, identifier, signal) => {
    const sides = Uint8Array.from({ length: DEPTH }, (_, height) => (Number(index) >> height) & 1)
    const path = joined(count(DEPTH), bytes(siblings), count(DEPTH), sides)
    const witness = joined(
      bytes(secret), number(limit), number(id), path, rln.hash(bytes(signal)), external(epoch, identifier))
    let solution
    try {
      solution = await solve(rln.rlnWitnessToJson(key, witness))
    } catch (error) {
      return { refused: String(error?.message ?? error) }
    }
    const proof = rln.generateRLNProofWithWitness(key, solution, witness)
    const element = n => hex(proof.subarray(SNARK + n * ELEMENT, SNARK + (n + 1) * ELEMENT))
    const [root, made, x, y, nullifier] = [0, 1, 2, 3, 4].map(element)
    return { snark: hex(proof.subarray(0, SNARK)), root, external: made, x, y, nullifier }
  },

  verify: (snark, root, epoch, x, y, nullifier, identifier, signal, roots) => {
    const values = joined(bytes(root), external(epoch, identifier), bytes(x), bytes(y), bytes(nullifier))
    const said = bytes(signal)
    const claim = joined(bytes(snark), values, count(said.length), said)
    try {
      return { holds: rln.verifyWithRoots(key, claim, bytes(roots.replaceAll(',', ''))) }
    } catch (error) {
      return { holds: false, why: String(error?.message ?? error) }
    }
  },
}

emit('ready', { library: '@waku/zerokit-rln-wasm 0.2.1' })

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [cmd, ...words] = line.split(' ')
  try {
    emit('reply', await commands[cmd](...words))
  } catch (error) {
    emit('error', { cmd, error: String(error?.message ?? error) })
  }
}
