use std::{collections::HashSet, fs};

use clap::CommandFactory;
use serde_json::json;

use super::*;
use crate::{
    cli::{Cli, Command},
    config::{Config, archive::Place},
};

const KEY: &str = "e43dc50df4b40c9fd549b76315936913c64b654e7b35c77a7331bb9b32fb4829";

fn settings(file: Value) -> Vec<(&'static str, Vec<String>)> {
    let read = of(&file).unwrap();
    assert_eq!(read.notices, [] as [&str; 0], "{file}");
    read.settings
}

/// A key, its value, and the flags that they come to.
type Row<'a> = (&'a str, Value, &'a [(&'a str, &'a str)]);

/// Row by row: what a key with a value comes to.
#[test]
fn every_key_has_an_effect_or_is_told() {
    let node = format!("enode://{}@1.2.3.4:30303", "ab".repeat(64));
    let with_password = format!("enode://{}:secret@1.2.3.4:30303", "ab".repeat(64));
    let (stays, trusts) = ([("staticnode-v1", &*node)], [("trustednode-v1", &*node)]);
    let rows: Vec<Row<'_>> = vec![
        ("ListenAddr", json!("0.0.0.0:443"), &[("listen-address", "0.0.0.0"), ("devp2p-tcp-port", "443")]),
        ("ListenAddr", json!(":30304"), &[("devp2p-tcp-port", "30304")]),
        ("AdvertiseAddr", json!("1.2.3.4"), &[("nat", "extip:1.2.3.4")]),
        ("NodeKey", json!(KEY), &[("nodekey", KEY)]),
        ("DataDir", json!("/var/lib/x"), &[("data-dir", "/var/lib/x")]),
        ("MaxPeers", json!(25), &[("devp2p-max-peers", "25")]),
        ("MaxPendingPeers", json!(7), &[("devp2p-max-pending", "7")]),
        ("NoDiscovery", json!(true), &[("discv4-discovery", "false")]),
        ("NoDiscovery", json!(false), &[("discv4-discovery", "true")]),
        ("LogLevel", json!("DEBUG"), &[("log-level", "debug")]),
        ("LogLevel", json!("CRIT"), &[("log-level", "fatal")]),
        ("LogEnabled", json!(true), &[]),
        ("LogToStderr", json!(true), &[]),
        ("HTTPEnabled", json!(true), &[("rpc", "true")]),
        ("HTTPHost", json!("localhost"), &[("rpc-address", "127.0.0.1")]),
        ("HTTPHost", json!("0.0.0.0"), &[("rpc-address", "0.0.0.0")]),
        ("HTTPPort", json!(8547), &[("rpc-port", "8547")]),
        ("HTTPVirtualHosts", json!(["a.example", "b"]), &[("rpc-allow-host", "a.example"), ("rpc-allow-host", "b")]),
        ("HTTPCors", json!(["https://a.example"]), &[("rpc-allow-origin", "https://a.example")]),
        ("WSEnabled", json!(true), &[("ws", "true")]),
        ("WSHost", json!("::1"), &[("ws-address", "::1")]),
        ("WSPort", json!(8548), &[("ws-port", "8548")]),
        ("IPCEnabled", json!(true), &[("ipc", "true")]),
        ("IPCFile", json!("geth.ipc"), &[("ipc-path", "geth.ipc")]),
        ("APIModules", json!("web3, admin,waku"), &[("rpc-api", "web3"), ("rpc-api", "admin"), ("rpc-api", "waku")]),
        ("EnableStatusService", json!(false), &[]),
        ("Rendezvous", json!(false), &[]),
        ("ClusterConfig.Enabled", json!(true), &[]),
        ("ClusterConfig.BootNodes", json!([node]), &[]),
        ("ClusterConfig.StaticNodes", json!([node]), &stays),
        ("ClusterConfig.TrustedMailServers", json!([with_password]), &trusts),
        ("WakuConfig.Enabled", json!(true), &[]),
        ("WakuConfig.LightClient", json!(false), &[]),
        ("WakuConfig.FullNode", json!(true), &[]),
        ("WakuConfig.EnableMailServer", json!(true), &[]),
        ("WakuConfig.EnableNTPSync", json!(false), &[]),
        ("WakuConfig.BloomFilterMode", json!(true), &[]),
        ("WakuConfig.MinimumPoW", json!(0.002), &[("waku-v1-pow", "0.002")]),
        ("WakuConfig.MaxMessageSize", json!(524_288), &[("max-message-size", "524288")]),
        ("WakuConfig.MailServerPassword", json!("pw"), &[("mail-password", "pw")]),
        ("WakuConfig.MailServerRateLimit", json!(5), &[("mail-rate-limit", "5")]),
        ("WakuConfig.MailServerDataRetention", json!(7), &[("mail-retention", "7")]),
        ("WakuConfig.DatabaseConfig.PGConfig.Enabled", json!(true), &[]),
        ("WakuConfig.DatabaseConfig.PGConfig.URI", json!("postgres://u:p@h/d"), &[]),
        ("WakuConfig.EnableRateLimiter", json!(false), &[("waku-v0-rate-limit", "none")]),
        ("WakuConfig.EnableRateLimiter", json!(true), &[]),
        ("WakuConfig.PacketRateLimitIP", json!(9), &[("waku-v0-rate-limit", "ip:9/s")]),
        ("WakuConfig.PacketRateLimitPeerID", json!(8), &[("waku-v0-rate-limit", "peer:8/s")]),
        ("WakuConfig.BytesRateLimitIP", json!(7), &[("waku-v0-rate-limit", "ip:7B/s")]),
        ("WakuConfig.BytesRateLimitPeerID", json!(6), &[("waku-v0-rate-limit", "peer:6B/s")]),
        ("WakuConfig.EnableConfirmations", json!(true), &[("confirmations", "true")]),
    ];
    let mut seen: HashSet<String> = HashSet::new();
    for (key, value, expected) in rows {
        let file = key.rsplit('.').fold(value, |inner, key| json!({ key: inner }));
        let found = settings(file);
        let found: Vec<(&str, &str)> =
            found.iter().flat_map(|(flag, values)| values.iter().map(|value| (*flag, &**value))).collect();
        assert_eq!(found, expected, "{key}");
        seen.insert(key.to_owned());
    }
    // What has no effect is told, and every other key of the tables is in the rows.
    let waku = WAKU.iter().map(|(key, meaning)| (format!("WakuConfig.{key}"), *meaning));
    for (key, meaning) in KEYS.iter().map(|(key, meaning)| ((*key).to_owned(), *meaning)).chain(waku) {
        match meaning {
            Meaning::None(why) => {
                let file = key.rsplit('.').fold(json!(1), |inner, key| json!({ key: inner }));
                let notices = of(&file).unwrap().notices;
                assert!(notices.len() == 1 && notices[0].contains(&key) && notices[0].contains(why), "{notices:?}");
            }
            Meaning::Always(always, why) => {
                assert!(seen.contains(&key), "{key}");
                let file = key.rsplit('.').fold(json!(!always), |inner, key| json!({ key: inner }));
                let notices = of(&file).unwrap().notices;
                assert!(notices.len() == 1 && notices[0].contains(why), "{notices:?}");
            }
            Meaning::Flag(..) | Meaning::Flags(..) | Meaning::Beside => assert!(seen.contains(&key), "{key}"),
        }
    }
    assert!(of(&json!({"APIModules": "eth,waku"})).unwrap().notices[0].contains("eth of APIModules"));
    assert!(of(&json!({"Surprise": {"Deep": 1}})).unwrap().notices[0].contains("Surprise.Deep"));
}

#[test]
fn every_flag_of_the_tables_is_one_of_the_mailserver() {
    let command = Cli::command();
    let sub = command.find_subcommand("mailserver").unwrap();
    for (_, meaning) in KEYS.iter().chain(WAKU) {
        if let Meaning::Flag(flag, _) = meaning {
            assert!(sub.get_arguments().any(|arg| arg.get_long() == Some(flag)), "{flag}");
        }
    }
}

#[test]
fn keys_that_belong_together_are_read_together() {
    let node = format!("enode://{}@1.2.3.4:30303", "ab".repeat(64));
    let cluster = |enabled: bool| json!({"NoDiscovery": false, "ClusterConfig": {"Enabled": enabled, "BootNodes": [node], "StaticNodes": [node]}});
    let flags = |file| settings(file).into_iter().map(|(flag, _)| flag).collect::<Vec<_>>();
    assert_eq!(flags(cluster(true)), ["staticnode-v1", "discv4-discovery", "discv4-bootstrap-node"]);
    assert_eq!(flags(cluster(false)), ["discv4-discovery"]);
    let database = |on: bool| json!({"WakuConfig": {"DatabaseConfig": {"PGConfig": {"Enabled": on, "URI": "postgres://u:p@h/d"}}}});
    assert_eq!(flags(database(true)), ["archive-url"]);
    assert_eq!(flags(database(false)), [] as [&str; 0]);
    // Older files.
    assert_eq!(flags(json!({"WhisperConfig": {"MinimumPoW": 0.1}})), ["waku-v1-pow"]);
    let both = of(&json!({"WakuConfig": {"TTL": 1}, "WhisperConfig": {"MinimumPoW": 0.1}})).unwrap();
    assert_eq!((both.settings.len(), both.notices.len()), (0, 2));
}

#[test]
fn wrong_values_are_named_with_their_key() {
    for (file, key) in [
        (json!({"ListenAddr": "nowhere"}), "ListenAddr"),
        (json!({"MaxPeers": "many"}), "MaxPeers"),
        (json!({"WakuConfig": {"MailServerPassword": 7}}), "WakuConfig.MailServerPassword"),
        (json!({"ClusterConfig": {"StaticNodes": ["x"]}}), "ClusterConfig.StaticNodes"),
        (json!({"LogLevel": "loud"}), "LogLevel"),
        (json!({"HTTPHost": "everywhere"}), "HTTPHost"),
        (json!({"HTTPCors": [1]}), "HTTPCors"),
    ] {
        let said = of(&file).unwrap_err().to_string();
        assert!(said.contains(key), "{said}");
    }
}

fn config(line: &[&str]) -> Config {
    let line = ["causeway", "mailserver"].iter().chain(line);
    match Cli::without_environment(line).unwrap().command {
        Command::Mailserver(args) => (*args).try_into().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn files_are_merged_in_order_and_the_command_line_wins() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, value: Value| {
        let path = directory.path().join(name);
        fs::write(&path, value.to_string()).unwrap();
        path.display().to_string()
    };
    let one = file(
        "one.json",
        json!({"MaxPeers": 10, "WakuConfig": {"MailServerRateLimit": 5, "MailServerPassword": "a", "TTL": 120}}),
    );
    let two = file("two.json", json!({"WakuConfig": {"MailServerPassword": "b", "MinimumPoW": 0.01}}));
    let read = config(&["-c", &one, "-c", &two, "--mail-rate-limit=9"]);
    let mail = read.mail.unwrap();
    assert_eq!((mail.password.as_deref(), mail.interval.as_secs()), (Some("b"), 9));
    let v0 = read.v0.unwrap();
    assert_eq!((v0.limits.max_peers, v0.settings.min_pow.value()), (10, 0.01));
    assert_eq!(read.notices.len(), 1);
    for wrong in ["/nowhere.json", &file("bad.json", json!([1]))] {
        let line = ["causeway", "mailserver", "-c", wrong];
        let said = Cli::without_environment(line).unwrap_err().to_string();
        assert!(said.contains(wrong), "{said}");
    }
}

#[test]
fn without_a_file_the_defaults_are_those_of_statusd() {
    let read = config(&[]);
    let (v0, mail, archive) = (read.v0.unwrap(), read.mail.unwrap(), read.archive.unwrap());
    assert_eq!(v0.settings.min_pow.value(), 0.000_002);
    assert_eq!((v0.listen.to_string().as_str(), v0.limits.max_peers), ("0.0.0.0:30303", 50));
    assert_eq!(mail.password.as_deref(), Some("status-offline-inbox"));
    assert_eq!((archive.place, archive.retention.max_age_secs), (Place::Sqlite(None), Some(30 * 86_400)));
    assert_eq!(config(&["--waku-v1-pow=0.5"]).v0.unwrap().settings.min_pow.value(), 0.5);
}
