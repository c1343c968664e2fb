use std::{collections::HashMap, fs};

use clap::CommandFactory;
use tempfile::TempDir;

use super::*;
use crate::{
    cli::{BridgeArgs, Cli, Command as Sub, Hidden, NodeArgs, RlnCommand, RlnCommandArgs, sample::sample},
    config::Config,
};

fn read(line: &[&str], environment: &[(&str, &str)]) -> Result<Sub, Error> {
    let environment: HashMap<&str, &str> = environment.iter().copied().collect();
    let line = ["causeway"].iter().chain(line);
    Cli::read_with(line, |name| environment.get(name).map(OsString::from)).map(|cli| cli.command)
}

fn node(line: &[&str], environment: &[(&str, &str)]) -> NodeArgs {
    match read(&[&["node"], line].concat(), environment) {
        Ok(Sub::Node(args)) => *args,
        other => panic!("{other:?}"),
    }
}

fn refusal(line: &[&str], environment: &[(&str, &str)]) -> String {
    let error = read(line, environment).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

/// A file with this text.
fn file(text: &str) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("node.toml");
    fs::write(&path, text).unwrap();
    let flag = format!("--config-file={}", path.display());
    (directory, flag)
}

/// What is said of a file of `node` with this text.
fn refused_file(text: &str) -> String {
    refusal(&["node", &file(text).1], &[("CAUSEWAY_X", "")])
}

#[test]
fn the_line_wins_over_the_environment_over_the_file_over_the_default() {
    let (_directory, flag) = file("tcp-port = 1\nrest-port = 1\nwebsocket-port = 1\n");
    let environment = [("WAKUNODE2_TCP_PORT", "2"), ("WAKUNODE2_REST_PORT", "2"), ("CAUSEWAY_REST_PORT", "3")];
    let args = node(&["--tcp-port=4", &flag], &environment);
    assert_eq!((args.v2.tcp_port, args.surface.rest_port, args.v2.websocket_port), (4, 3, 1));
    assert_eq!(args.seek.discv5_udp_port, 9000);
    let overruled = [("WAKUNODE2_TCP_PORT", "nonsense")];
    assert_eq!(node(&["--tcp-port=4"], &overruled).v2.tcp_port, 4);
}

#[test]
fn a_list_is_taken_from_one_place_alone() {
    let (_directory, flag) = file("shard = [1, 2]\n");
    assert_eq!(node(&[&flag], &[]).network.shard, [1, 2]);
    assert_eq!(node(&[&flag], &[("WAKUNODE2_SHARD", "[3, \"4\"]")]).network.shard, [3, 4]);
    assert_eq!(node(&[&flag, "--shard=5"], &[("WAKUNODE2_SHARD", "[3]")]).network.shard, [5]);
    assert_eq!(node(&[&flag], &[("WAKUNODE2_SHARD", "[]")]).network.shard, [] as [u16; 0]);
    assert_eq!(node(&[], &[("WAKUNODE2_SHARD", "6")]).network.shard, [6]);
}

#[test]
fn the_environment_may_name_the_file() {
    let (directory, _flag) = file("tcp-port = 1\n");
    let path = directory.path().join("node.toml").display().to_string();
    for name in ["CAUSEWAY_CONFIG_FILE", "WAKUNODE2_CONFIG_FILE"] {
        assert_eq!(node(&[], &[(name, &path)]).v2.tcp_port, 1, "{name}");
    }
    assert_eq!(node(&["--config-file", &path], &[]).v2.tcp_port, 1);
    assert_eq!(node(&[], &[("CAUSEWAY_CONFIG_FILE", "")]).v2.tcp_port, 60000);
}

#[test]
fn of_two_that_exclude_each_other_the_better_place_counts() {
    let (_directory, flag) = file("nodekey-file = \"from the file\"\n");
    let environment = [("WAKUNODE2_NODEKEY", "01")];
    let keys = |args: NodeArgs| (args.base.nodekey, args.base.nodekey_file);
    assert_eq!(keys(node(&[&flag], &environment)), (Some("01".into()), None));
    assert_eq!(keys(node(&[&flag, "--key-file=x"], &environment)), (None, Some("x".into())));
    assert_eq!(keys(node(&[&flag, "--nodekey=02"], &[("CAUSEWAY_NODEKEY_FILE", "y")])), (Some("02".into()), None));
    assert_eq!(
        read(&["node", "--nodekey=1", "--nodekey-file=2"], &[]).unwrap_err().kind(),
        ErrorKind::ArgumentConflict
    );
}

#[test]
fn an_empty_text_is_nothing_where_nothing_is_the_default() {
    let (_directory, flag) = file("shard = [1]\npreset = \"status\"\n");
    let environment = [
        ("WAKUNODE2_SHARD", ""),
        ("CAUSEWAY_NODEKEY", ""),
        ("WAKUNODE2_WEBSOCKET_SECURE_KEY_PATH", ""),
        ("WAKUNODE2_PRESET", ""),
    ];
    let args = node(&[&flag], &environment);
    assert_eq!((&args.network.shard[..], &*args.network.preset), (&[1][..], ""));
    assert_eq!((args.base.nodekey, args.v2.websocket_secure_key_path), (None, None));
    let line = node(&["--websocket-secure-key-path="], &[]).v2.websocket_secure_key_path;
    assert_eq!(line, Some(PathBuf::new()), "as nwaku takes it");
    assert!(refusal(&["node"], &[("WAKUNODE2_TCP_PORT", "")]).contains("WAKUNODE2_TCP_PORT"));
}

#[test]
fn every_form_of_nwaku_is_understood() {
    for line in [&["--tcp-port=7"][..], &["--tcp-port", "7"], &["--tcp-port:7"], &["--libp2p-tcp-port:7"]] {
        assert_eq!(node(line, &[]).v2.tcp_port, 7, "{line:?}");
    }
    for line in [
        &["--peer-persistence"][..],
        &["--peer-persistence=true"],
        &["--peer-persistence=True"],
        &["--peer-persistence:TRUE"],
        &["--peer-persistence", "true"],
        &["--persist-peers"],
        &["--peer-persistence", "--tcp-port=7"],
    ] {
        assert!(node(line, &[]).seek.peer_persistence, "{line:?}");
    }
    for line in [&["--relay=False"][..], &["--relay", "false"], &["--relay:false"]] {
        assert!(!node(line, &[]).v2.relay, "{line:?}");
    }
    let colons = node(&["--staticnode:/ip4/1.2.3.4/tcp/5/p2p/x", "--rate-limit:px:10/1s"], &[]);
    assert_eq!(colons.v2.staticnode_v2, ["/ip4/1.2.3.4/tcp/5/p2p/x"], "of two colons the first");
    assert_eq!(colons.v2.rate_limit[0].quota.volume, 10);
}

#[test]
fn what_is_no_flag_is_left_alone() {
    let Ok(Sub::Post(post)) = read(&["post", "enode://x@h:1", "--text", "--"], &[]) else {
        let error = read(&["post", "enode://x@h:1", "--text", "--"], &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        let Ok(Sub::Post(post)) = read(&["post", "--text:a:b=c", "--", "enode://x@h:1"], &[]) else { panic!("a post") };
        assert_eq!((post.text.as_deref(), post.at.peer.as_deref()), (Some("a:b=c"), Some("enode://x@h:1")));
        return;
    };
    panic!("{post:?}");
}

#[test]
fn names_of_go_waku_count_everywhere() {
    assert_eq!(node(&["--address=127.0.0.1"], &[]).base.listen_address.to_string(), "127.0.0.1");
    assert_eq!(node(&[], &[("WAKUNODE2_STATICNODE", "x")]).v2.staticnode_v2, ["x"]);
    assert!(node(&[], &[("WAKUNODE2_PERSIST_PEERS", "true")]).seek.peer_persistence);
    assert_eq!(node(&[], &[("WAKUNODE2_TOPICS", "[\"a\", \"b\"]")]).network.pubsub_topic, ["a", "b"]);
    let (_directory, flag) = file("key-file = \"k\"\n");
    assert_eq!(node(&[&flag], &[]).base.nodekey_file, Some("k".into()));
}

#[test]
fn flags_alone_are_flags_of_node() {
    let Ok(Sub::Node(args)) = read(&["--tcp-port=7", "--relay=true"], &[]) else { panic!("a node") };
    assert_eq!(args.v2.tcp_port, 7);
    assert_eq!(read(&["--version"], &[]).unwrap_err().kind(), ErrorKind::DisplayVersion);
    assert_eq!(read(&["--help"], &[]).unwrap_err().kind(), ErrorKind::DisplayHelp);
    assert_eq!(read(&[], &[]).unwrap_err().kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
}

#[test]
fn sub_commands_that_need_something_get_it_from_the_environment() {
    let environment = [("CAUSEWAY_DOMAIN", "nodes.example.org"), ("CAUSEWAY_JSON", "true"), ("CAUSEWAY_SEQ", "3")];
    let Ok(Sub::DnsTree(args)) = read(&["dns-tree", "--key-file=k"], &environment) else { panic!("a tree") };
    assert_eq!((&*args.domain, args.json, args.seq), ("nodes.example.org", true, Some(3)));
    let Ok(Sub::Post(post)) = read(&["post", "x"], &[("CAUSEWAY_SIGNING_KEY", "11")]) else { panic!("a post") };
    assert_eq!(post.signing_key.as_deref(), Some("11"));
}

#[test]
fn sub_commands_of_sub_commands_read_the_environment_too() {
    let environment = [("CAUSEWAY_RLN_RELAY_ETH_PRIVATE_KEY", "01"), ("WAKUNODE2_RLN_RELAY_USER_MESSAGE_LIMIT", "7")];
    for words in [&["rln", "register"][..], &["generateRlnKeystore"]] {
        let line = [words, &["--execute", "True"]].concat();
        let (Sub::Rln(RlnCommandArgs { command: RlnCommand::Register(args) }) | Sub::GenerateRlnKeystore(args)) =
            read(&line, &environment).unwrap()
        else {
            panic!("{words:?} registers nobody");
        };
        let key = args.rln_relay_eth_private_key.as_ref().map(Hidden::text);
        assert_eq!((key, args.rln_relay_user_message_limit, args.execute), (Some("01"), 7, true), "{words:?}");
    }
    let wrong = [("CAUSEWAY_RLN_RELAY_USER_MESSAGE_LIMIT", "many")];
    let said = refusal(&["rln", "register"], &wrong);
    assert!(said.contains("CAUSEWAY_RLN_RELAY_USER_MESSAGE_LIMIT") && said.contains("many"), "{said}");
}

#[test]
fn what_the_environment_says_wrong_is_named() {
    for (name, value, word) in [
        ("WAKUNODE2_TCP_PORT", "70000", "70000 is not in 0..=65535"),
        ("WAKUNODE2_RELAY", "yes", "give true or false"),
        ("CAUSEWAY_SHARD", "[1,", "no JSON array"),
        ("CAUSEWAY_SHARD", "[[1]]", "no JSON array"),
        ("CAUSEWAY_PRINT_CONFIG", "maybe", "give true or false"),
        ("CAUSEWAY_LOG_LEVEL", "loud", "possible values"),
    ] {
        let said = refusal(&["node"], &[(name, value)]);
        assert!(said.contains(name) && said.contains(word), "{name}={value}: {said}");
    }
}

#[test]
fn what_a_file_says_wrong_is_named_with_its_line() {
    for (text, line, word) in [
        ("tcp-prt = 1\n", 1, "Perhaps tcp-port is meant"),
        ("\n# a comment\nwhatever = 1\n", 3, "whatever is no flag of `causeway node`"),
        ("bridge-ttl = 15\n", 1, "no flag of `causeway node`"),
        ("tcp-port = \"many\"\n", 1, "invalid value 'many' for '--tcp-port"),
        ("tcp-port = 70000\n", 1, "70000 is not in 0..=65535"),
        ("tcp-port = true\n", 1, "takes a text in quotes or a number, not a boolean"),
        ("tcp-port = [1, 2]\n", 1, "takes one value, not a list"),
        ("shard = [1, [2]]\n", 1, "takes a text in quotes or a number, not a array"),
        ("preset = \"\"\nrelay = \"true\"\n", 2, "takes true or false, not a string"),
        ("relay = 1\n", 1, "takes true or false, not a integer"),
        ("[node]\ntcp-port = 1\n", 1, "node is no flag"),
        ("relay.on = true\n", 1, "takes true or false, not a table"),
        ("config-file = \"x\"\n", 1, "no place in a file"),
        ("print-config = true\n", 1, "no place in a file"),
        ("help = true\n", 1, "help is no flag"),
        ("shard = 1\nrelay = true\nshard = 2\n", 3, "duplicate key"),
        ("staticnode = \"a\"\nstaticnode-v2 = \"b\"\n", 2, "stands above already"),
        ("tcp-port = \n", 1, ""),
        ("tcp-port = 99999999999999999999\n", 1, "too large"),
        ("nodekey = 1979-05-27\n", 1, "not a datetime"),
    ] {
        let said = refused_file(text);
        assert!(said.contains(&format!("node.toml, line {line}: ")) && said.contains(word), "{text}: {said}");
    }
    let said = refusal(&["node", "--config-file=/nowhere/node.toml"], &[]);
    assert!(said.contains("--config-file /nowhere/node.toml"), "{said}");
    assert!(refused_file(&"#".repeat(1024 * 1024 + 1)).contains("1048576 bytes"));
}

#[test]
fn a_file_has_every_kind_of_value() {
    let (_directory, flag) = file(
        "preset = 'twn'\nnat = \"extip:203.0.113.7\"\ntcp-port = 0x10\nwaku-v1-pow = 0.25\nwaku-v0 = true\n\
         staticnode = [\"a\", \"b\"]\ncontent-topic = \"/a/1/b/c\"\nreliability = true\n",
    );
    let args = node(&[&flag], &[]);
    assert_eq!((&*args.network.preset, args.v2.tcp_port, args.v1.waku_v1_pow), ("twn", 16, 0.25));
    assert_eq!((args.v2.staticnode_v2.len(), args.network.content_topic.len()), (2, 1));
    assert!(args.waku_v0 && args.foreign.asks("reliability"));
    assert_eq!(args.base.nat.to_string(), "extip:203.0.113.7");
}

#[test]
fn help_shows_rare_and_foreign_flags_when_asked_for_all() {
    let help = |line: &[&str]| {
        let error = read(line, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelp);
        error.to_string()
    };
    let (usual, all) = (help(&["node", "--help"]), help(&["node", "--help-all"]));
    for flag in ["--mixkey", "--discv5-bits-per-hop", "--rln-relay-dynamic"] {
        assert!(!usual.contains(flag) && all.contains(flag), "{flag}");
    }
    assert!(usual.contains("--staticnode-v2"));
    for flag in ["--help", "-h", "--help-all"] {
        let error = read(&["node", flag], &[("CAUSEWAY_TCP_PORT", "nonsense")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DisplayHelp, "{flag}");
    }
}

/// The sample without the `#` before flags that have a default.
fn uncommented(name: &str) -> String {
    let command = Cli::command();
    let sub = command.find_subcommand(name).unwrap();
    let has_default = |line: &str| {
        let flag = line.strip_prefix('#').and_then(|rest| rest.split_once(" = ")).map(|(flag, _)| flag);
        flag.and_then(|flag| find(sub, flag)).is_some_and(|arg| !arg.get_default_values().is_empty())
    };
    let line = |line: &str| if has_default(line) { line[1..].to_owned() } else { line.to_owned() };
    sample(name).lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_is_read_back_as_the_defaults() {
    fn config<A>(args: A) -> String
    where
        Config: TryFrom<A, Error: std::fmt::Debug>,
    {
        format!("{:?}", Config::try_from(args).unwrap())
    }
    for name in ["node", "bridge", "legacy", "mailserver"] {
        let text = uncommented(name);
        assert!(text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count() > 20, "{text}");
        let (_directory, flag) = file(&text);
        let of = |line: &[&str]| match read(line, &[]) {
            Ok(Sub::Node(args)) => config::<NodeArgs>(*args),
            Ok(Sub::Bridge(args)) => config::<BridgeArgs>(*args),
            Ok(Sub::Legacy(args)) => config(*args),
            Ok(Sub::Mailserver(args)) => config(*args),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(&[name, &flag]), of(&[name]), "{name}");
    }
    assert_eq!(sample("nothing"), "");
}

#[test]
fn the_sample_has_every_flag_that_help_shows() {
    let command = Cli::command();
    for name in ["node", "bridge", "legacy", "mailserver"] {
        let text = sample(name);
        let sub = command.find_subcommand(name).unwrap();
        for arg in sub.get_arguments().filter(|arg| !arg.is_hide_set() && is_setting(arg)) {
            let flag = first_name(arg);
            assert_eq!(text.matches(&format!("\n#{flag} = ")).count(), 1, "{flag} of {name}");
        }
    }
}
