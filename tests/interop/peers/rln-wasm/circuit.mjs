// Solves a circuit that circom compiled to WebAssembly: values of its inputs in, values of all its wires out.
// Numbers go in and out by a shared memory of 32-bit words; inputs are named by the FNV-1a hash of their names.
const WORD = 32n

/** A function from inputs by name, each a number or an array of them, as decimal text, to all wires as bigints. */
export async function circuit(code) {
  let words = ''
  const refuse = code => {
    throw new Error(`the circuit refuses its inputs (${code})${words}`)
  }
  const runtime = {
    exceptionHandler: refuse,
    printErrorMessage: () => {
      words += ` ${message()}`
    },
    writeBufferMessage: () => message(),
    showSharedRWMemory: () => {},
  }
  const { instance } = await WebAssembly.instantiate(code, { runtime })
  const wasm = instance.exports
  const size = wasm.getFieldNumLen32()

  const message = () => {
    let text = ''
    for (let char; (char = wasm.getMessageChar()) !== 0;) text += String.fromCharCode(char)
    return text.trim()
  }
  const read = () => {
    let number = 0n
    for (let word = size - 1; word >= 0; word--) number = (number << WORD) | BigInt(wasm.readSharedRWMemory(word) >>> 0)
    return number
  }
  const write = number => {
    for (let word = 0; word < size; word++) wasm.writeSharedRWMemory(word, Number((number >> (BigInt(word) * WORD)) & 0xffffffffn))
  }
  const give = ([name, value]) => {
    const hash = fnv(name)
    const [high, low] = [Number(hash >> WORD), Number(hash & 0xffffffffn)]
    const values = [value].flat()
    if (wasm.getInputSignalSize(high, low) !== values.length) throw new Error(`the circuit has no such input: ${name}, ${values.length}`)
    values.forEach((number, place) => {
      write(BigInt(number))
      wasm.setInputSignal(high, low, place)
    })
  }

  return inputs => {
    words = ''
    wasm.init(0)
    Object.entries(inputs).forEach(give)
    return Array.from({ length: wasm.getWitnessSize() }, (_, wire) => {
      wasm.getWitness(wire)
      return read()
    })
  }
}

function fnv(name) {
  let hash = 0xcbf29ce484222325n
  for (const byte of Buffer.from(name)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return hash
}
