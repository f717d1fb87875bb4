-- A store as schema 1 wrote it. Frozen: it never changes.
BEGIN TRANSACTION;
CREATE TABLE grants (
        id integer primary key, jti text not null unique, sid text not null, txn text not null,
        agent text not null, sub text not null, resource text not null, scope text not null,
        mode text not null, iat integer not null, exp integer not null, jkt text, onward text,
        terminal integer not null, claims blob not null, key text, leaf integer not null
    );
INSERT INTO "grants" VALUES(1,'j','below','root','spiffe://example.org/agent/supervisor','local|alice','https://crm.example/mcp','crm:read','on_behalf_of',1750000000,1750000060,NULL,'https://crm.example/mcp crm:read crm:write',0,X'7B22726563223A2272227D',NULL,2);
CREATE TABLE keys (
        kid text primary key, use text not null, jwk blob not null, sign_from integer not null,
        sign_until integer not null, serve_until integer not null, instance text not null,
        endorsement blob, proof blob
    ) without rowid;
INSERT INTO "keys" VALUES('k','sig',X'7B7D',0,1,2,'i',NULL,NULL);
CREATE TABLE meta (name text primary key, value text not null) without rowid;
INSERT INTO "meta" VALUES('policy','p');
CREATE TABLE records (
        seq integer primary key, time integer not null, type text not null, leaf blob not null,
        txn text, sid text, jti text, agent text, sub text, tool text, resource text, outcome text,
        call_id text, reference text, salt blob, body blob
    );
INSERT INTO "records" VALUES(0,1750000000000,'session.opened',X'5FECEB66FFC86F38D952786C6D696C79C2DBC239DD4E91B46729D73A27FB57E9','root','root',NULL,NULL,'local|alice',NULL,NULL,'permitted',NULL,NULL,X'73737373737373737373737373737373',X'7B226E223A307D');
INSERT INTO "records" VALUES(1,1750000000001,'session.delegated',X'6B86B273FF34FCE19D6B804EFF5A3F5747ADA4EAA22F1D49C01E52DDB7875B4B','root','below',NULL,NULL,NULL,NULL,NULL,'permitted',NULL,NULL,X'73737373737373737373737373737373',X'7B226E223A317D');
INSERT INTO "records" VALUES(2,1750000000002,'exchange.permitted',X'D4735E3A265E16EEE03F59718B9B5D03019C07D8B6C51F90DA3A666EEC13AB35','root','below','j',NULL,NULL,NULL,NULL,'permitted',NULL,NULL,X'73737373737373737373737373737373',X'7B226E223A327D');
CREATE TABLE remembered (
        key text primary key, digest text not null, sid text, jti text, until integer not null
    ) without rowid;
INSERT INTO "remembered" VALUES('key','dig','below',NULL,1750003600);
CREATE TABLE replay (
        issuer text not null, jti text not null, until integer not null, primary key (issuer, jti)
    ) without rowid;
INSERT INTO "replay" VALUES('i','j',5);
CREATE TABLE revocations (
        kind text not null, id text not null, at integer not null, until integer not null, before integer,
        seq integer not null, reason text not null, primary key (id, kind)
    ) without rowid;
INSERT INTO "revocations" VALUES('session','below',1,2,NULL,2,'x');
CREATE TABLE sessions (
        id integer primary key, sid text not null unique, txn text not null, sub text not null,
        agent text not null, exp integer not null, leaf integer not null, data text not null,
        state text not null, children integer not null, task text, task_digest text
    );
INSERT INTO "sessions" VALUES(1,'root','root','local|alice','spiffe://example.org/agent/supervisor',1750003600,0,'{"sid":"root","txn":"root","path":[],"parent":null,"kind":"root","mode":"on_behalf_of","sub":"local|alice","agent":"spiffe://example.org/agent/supervisor","chain":["spiffe://example.org/agent/supervisor"],"ceiling":"https://crm.example/mcp crm:read crm:write","created":1750000000,"exp":1750003600,"depth":0,"evidence":"asserted","workload":"spiffe://example.org/workload/churn","attestation":"in_process","key":null,"leaf":0,"continues":null}','open',1,NULL,NULL);
INSERT INTO "sessions" VALUES(2,'below','root','local|alice','spiffe://example.org/agent/supervisor',1750003600,1,'{"sid":"below","txn":"root","path":[],"parent":"root","kind":"child","mode":"on_behalf_of","sub":"local|alice","agent":"spiffe://example.org/agent/supervisor","chain":["spiffe://example.org/agent/supervisor"],"ceiling":"https://crm.example/mcp crm:read crm:write","created":1750000000,"exp":1750003600,"depth":1,"evidence":"asserted","workload":"spiffe://example.org/workload/churn","attestation":"in_process","key":null,"leaf":1,"continues":null}','open',0,'Q3','dddddddddddddddddddddddddddddddd');
CREATE TABLE tiles (
        level integer not null, idx integer not null, data blob not null, primary key (level, idx)
    ) without rowid;
INSERT INTO "tiles" VALUES(0,0,X'7474747474747474747474747474747474747474747474747474747474747474');
CREATE TABLE trees (
        txn text primary key, secret blob, sessions integer not null
    ) without rowid;
INSERT INTO "trees" VALUES('root',X'6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B6B',2);
CREATE INDEX sessions_txn on sessions (txn);
CREATE INDEX sessions_sub on sessions (sub, exp);
CREATE INDEX sessions_agent on sessions (agent, exp);
CREATE INDEX grants_txn on grants (txn);
CREATE INDEX revocations_seq on revocations (seq);
CREATE INDEX records_txn on records (txn) where txn is not null;
CREATE INDEX records_sid on records (sid) where txn is null and sid is not null;
CREATE INDEX records_jti on records (jti) where jti is not null;
CREATE INDEX records_call on records (call_id) where call_id is not null;
CREATE INDEX records_reference on records (reference) where reference is not null;
COMMIT;
PRAGMA user_version = 1;
PRAGMA application_id = 1146115161;
