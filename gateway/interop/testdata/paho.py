# paho over one kind of listener, with each version of MQTT: messages at each
# QoS, a retained one, one that waited for a session, a will.
import queue
import sys

import paho.mqtt.client as mqtt

kind, port, ca, cert, key = sys.argv[1:]
PATIENCE = 30


class Client:
    def __init__(self, name, version, keep=False, will=None):
        args = {"client_id": name, "protocol": version, "transport": "websockets" if kind in ("ws", "wss") else "tcp"}
        if hasattr(mqtt, "CallbackAPIVersion"):  # paho 2
            args["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        if version != mqtt.MQTTv5:
            args["clean_session"] = not keep
        c = self.c = mqtt.Client(**args)
        if kind in ("tls", "wss"):
            c.tls_set(ca)
        if kind == "mtls":
            c.tls_set(ca, cert, key)
        if kind in ("ws", "wss"):
            c.ws_set_options(path="/mqtt")
        self.events = queue.Queue()
        self.messages = queue.Queue()
        c.on_connect = lambda c, u, flags, rc, p=None: self.events.put(("connect", rc == 0, bool(flags["session present"])))
        c.on_subscribe = lambda *a: self.events.put(("subscribe",))
        c.on_publish = lambda *a: self.events.put(("publish",))
        c.on_message = lambda c, u, m: self.messages.put((m.topic, m.payload, m.qos, bool(m.retain)))
        if will:
            c.will_set(will, b"gone", 1)
        more = {}
        if version == mqtt.MQTTv5:
            from paho.mqtt.packettypes import PacketTypes
            from paho.mqtt.properties import Properties
            more = {"clean_start": not keep, "properties": Properties(PacketTypes.CONNECT)}
            if keep:
                more["properties"].SessionExpiryInterval = 3600
        c.connect("localhost" if kind == "mtls" else "127.0.0.1", int(port), **more)
        if will:  # this one is lost, and must not come back by itself
            while self.events.empty():
                c.loop(PATIENCE)
        else:
            c.loop_start()
        _, ok, self.present = self.event("connect")
        assert ok

    def event(self, name):
        e = self.events.get(timeout=PATIENCE)
        assert e[0] == name, (e, name)
        return e

    def subscribe(self, topic, qos):
        self.c.subscribe(topic, qos)
        self.event("subscribe")

    def publish(self, topic, payload, qos, retain=False):
        self.c.publish(topic, payload, qos, retain)
        self.event("publish")

    def want(self, *message):
        got = self.messages.get(timeout=PATIENCE)
        assert got == message, (got[0], got[1][:40], got[2:], message[0], message[1][:40], message[2:])

    def close(self):
        self.c.disconnect()
        self.c.loop_stop()


versions = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}
for name, version in versions.items():
    topic = "paho/%s/%s" % (kind, name)
    a = Client("pa-%s-%s" % (kind, name), version)
    a.publish(topic + "/kept", b"kept", 1, True)
    a.subscribe(topic + "/#", 2)
    a.want(topic + "/kept", b"kept", 1, True)
    for qos in 0, 1, 2:
        payload = b"x" * qos * 50000
        a.publish(topic + "/m", payload, qos)
        a.want(topic + "/m", payload, qos, False)

    b = Client("pb-%s-%s" % (kind, name), version, keep=True)
    b.subscribe(topic + "/later", 2)
    b.close()
    a.publish(topic + "/later", b"waited", 2)
    b = Client("pb-%s-%s" % (kind, name), version, keep=True)
    assert b.present or version == mqtt.MQTTv31
    b.want(topic + "/later", b"waited", 2, False)
    b.close()
    a.want(topic + "/later", b"waited", 2, False)

    b = Client("pw-%s-%s" % (kind, name), version, will=topic + "/will")
    b.c.socket().close()
    a.want(topic + "/will", b"gone", 1, False)
    a.close()
print("%d versions" % len(versions))
