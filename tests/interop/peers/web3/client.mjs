// A stock web3 client of one node: keys and posts over HTTP; subscriptions over WebSocket and over the Unix socket.
// node client.mjs HTTP WS IPC PASSWORD TOPIC
//   standard input: one text a line, posted signed; standard output: one JSON object a line.
import net from 'node:net'
import readline from 'node:readline'
import Shh from 'web3-shh'

const [http, ws, ipc, password, topic] = process.argv.slice(2)
const emit = (event, fields = {}) => console.log(JSON.stringify({ event, t: Date.now(), ...fields }))
const fail = error => {
  emit('error', { error: String(error?.message ?? error) })
  process.exit(1)
}
process.on('unhandledRejection', fail)

const shh = new Shh(http)
const listeners = [['ws', new Shh(ws)], ['ipc', new Shh(ipc, net)]]

const key = await shh.generateSymKeyFromPassword(password)
const signer = await shh.newKeyPair()
const publicKey = await shh.getPublicKey(signer)
const filter = await shh.newMessageFilter({ symKeyID: key, topics: [topic] })
for (const [via, client] of listeners) {
  await new Promise((resolve, reject) => {
    client
      .subscribe('messages', { symKeyID: key, topics: [topic] }, error => error && reject(error))
      .on('connected', resolve)
      .on('data', ({ payload, sig, hash }) => emit('message', { via, payload, sig, hash }))
      .on('error', reject)
  })
}
emit('ready', { publicKey, version: await shh.getVersion(), info: await shh.getInfo() })

for await (const text of readline.createInterface({ input: process.stdin })) {
  if (text === 'poll') {
    const messages = await shh.getFilterMessages(filter)
    emit('polled', { payloads: messages.map(message => message.payload) })
    continue
  }
  const payload = '0x' + Buffer.from(text).toString('hex')
  const hash = await shh.post({ symKeyID: key, sig: signer, ttl: 20, topic, payload, powTime: 10, powTarget: 0.002 })
  emit('posted', { text, hash })
}
process.exit(0)
