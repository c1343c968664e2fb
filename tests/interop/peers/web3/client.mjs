// A stock web3 client of one node: keys and posts over HTTP; subscriptions over WebSocket and over the Unix socket.
// node client.mjs HTTP WS IPC PASSWORD TOPIC
//   standard input: one text a line, posted signed; `poll`; `history ENODE PASSWORD COUNT`; standard output: one JSON object a line.
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
// What web3 has no word for.
const call = (method, params) =>
  new Promise((resolve, reject) =>
    shh.currentProvider.send({ jsonrpc: '2.0', id: 1, method, params }, (error, answer) =>
      error || answer.error ? reject(error ?? answer.error) : resolve(answer.result)))

// Asks a mail server of the node's, and waits until so many messages have come outside of gossip.
const history = async (mailServerPeer, password, count) => {
  const symKeyID = await shh.generateSymKeyFromPassword(password)
  const direct = await shh.newMessageFilter({ symKeyID: key, topics: [topic], allowP2P: true })
  const asked = { mailServerPeer, symKeyID, topics: [topic], force: true }
  const request = await call('wakuext_requestMessages', [asked])
  const payloads = []
  for (let tries = 0; payloads.length < count && tries < 300; tries++) {
    for (const { payload } of await shh.getFilterMessages(direct)) payloads.push(payload)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  const sync = await call('wakuext_requestMessagesSync', [{ MaxRetries: 3 }, asked])
  emit('history', { request, payloads, sync })
}

emit('ready', { publicKey, version: await shh.getVersion(), info: await shh.getInfo() })

for await (const text of readline.createInterface({ input: process.stdin })) {
  if (text.startsWith('history ')) {
    const [, server, password, count] = text.split(' ')
    await history(server, password, Number(count))
    continue
  }
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
