// MQTT.js over each kind of listener, with each version of MQTT: messages at
// each QoS, a retained one, one that waited for a session.
'use strict'
const fs = require('fs')
const net = require('net')
const assert = require('assert')
const mqtt = require('mqtt')

const [ca, cert, key, socket, tcp, tls, mtls, ws, wss] = process.argv.slice(2)
const secure = { ca: fs.readFileSync(ca) }
const links = {
  tcp: [`mqtt://127.0.0.1:${tcp}`],
  tls: [`mqtts://127.0.0.1:${tls}`, secure],
  mtls: [`mqtts://localhost:${mtls}`, { ...secure, cert: fs.readFileSync(cert), key: fs.readFileSync(key) }],
  unix: [null, {}],
  ws: [`ws://127.0.0.1:${ws}/mqtt`],
  wss: [`wss://127.0.0.1:${wss}/mqtt`, { ca: secure.ca, wsOptions: { ca: secure.ca } }],
}
const versions = {
  31: { protocolId: 'MQIsdp', protocolVersion: 3 },
  311: { protocolVersion: 4 },
  5: { protocolVersion: 5 },
}

function open (kind, options) {
  const [url, more] = links[kind]
  const all = { ...more, ...options, reconnectPeriod: 0 }
  return url ? mqtt.connect(url, all) : new mqtt.MqttClient(() => net.connect(socket), all)
}

function connected (c) {
  return new Promise((resolve, reject) => { c.once('connect', resolve); c.once('error', reject); c.once('close', () => reject(new Error('closed'))) })
}

// inbox gives the messages of a client in order.
function inbox (c) {
  const came = []
  const waiting = []
  c.on('message', (topic, payload, packet) => {
    const m = [topic, payload.toString(), packet.qos, packet.retain]
    if (waiting.length) waiting.shift()(m); else came.push(m)
  })
  return () => came.length ? Promise.resolve(came.shift()) : new Promise(resolve => waiting.push(resolve))
}

async function run (kind, version) {
  const topic = `mqttjs/${kind}/${version}`
  const id = `js-${kind}-${version}`
  const a = open(kind, { ...versions[version], clientId: id })
  const next = inbox(a)
  await connected(a)
  await a.publishAsync(`${topic}/kept`, 'kept', { qos: 1, retain: true })
  await a.subscribeAsync(`${topic}/#`, { qos: 2 })
  assert.deepStrictEqual(await next(), [`${topic}/kept`, 'kept', 1, true])
  for (const qos of [0, 1, 2]) {
    const payload = 'x'.repeat(qos * 50000)
    await a.publishAsync(`${topic}/m`, payload, { qos })
    assert.deepStrictEqual(await next(), [`${topic}/m`, payload, qos, false])
  }
  const keep = { ...versions[version], clientId: `${id}-b`, clean: false }
  if (version === '5') keep.properties = { sessionExpiryInterval: 3600 }
  let b = open(kind, keep)
  await connected(b)
  await b.subscribeAsync(`${topic}/later`, { qos: 2 })
  await b.endAsync()
  await a.publishAsync(`${topic}/later`, 'waited', { qos: 2 })
  b = open(kind, keep)
  assert.deepStrictEqual(await inbox(b)(), [`${topic}/later`, 'waited', 2, false])
  await b.endAsync()
  await a.endAsync()
}

async function main () {
  let n = 0
  for (const kind of Object.keys(links)) {
    for (const version of Object.keys(versions)) {
      await run(kind, version).catch(e => { throw new Error(`${kind}, version ${version}`, { cause: e }) })
      n++
    }
  }
  console.log(`${n} connections`)
}
main().catch(e => { console.error(e); process.exit(1) })
