//! The core that follows DNS lists (EIP-1459): a zone that answers rightly, wrongly, late or not at all.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::LazyLock, time::Duration};

use devp2p::{
    dnsdisc::{Label, Link, LookupError, Resolver, Root, Tree, resolve::MAX_ENTRIES},
    enr::{self, Endpoint},
};

use super::devp2p::key;
use crate::script::{Script, start};

/// Whose list it is.
const SIGNER: u8 = 9;

/// The list's place.
const DOMAIN: &str = "nodes.example";

static LINK: LazyLock<Link> = LazyLock::new(|| Link::new(key(SIGNER).public(), DOMAIN).expect("a domain"));

/// A list that links to itself, by name.
static ZONE: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let record = |n: u8| {
        let place = Endpoint { ip: Some(Ipv4Addr::new(80, 0, 0, n).into()), tcp: Some(30_303), udp: None };
        enr::sign(&key(n), 1, &place).expect("an ordinary endpoint")
    };
    let records: Vec<_> = (1..=20).map(record).collect();
    Tree::make(&records, std::slice::from_ref(&LINK), 3, &key(SIGNER)).records(&LINK).into_iter().collect()
});

/// Whatever is answered, what is known stays bounded, and there is no second question before the answer.
pub fn core(input: &[u8]) {
    let mut script = Script::new(input);
    let mut now = start();
    let mut resolver = Resolver::new(std::slice::from_ref(&LINK), now);
    while !script.is_over() {
        let step_millis = if script.one_of(8) == 0 { 60_000 } else { 10 };
        now = now.after(Duration::from_millis(u64::from(script.byte()) * step_millis));
        if let Some(name) = resolver.next_query(now) {
            assert_eq!(resolver.next_query(now), None);
            let answer = answer(&mut script, &name);
            resolver.answer(now, answer);
        }
        while resolver.next_event().is_some() {}
        assert!(resolver.nodes().len() <= 2 * MAX_ENTRIES);
    }
}

fn answer(script: &mut Script<'_>, name: &str) -> Result<Vec<Vec<u8>>, LookupError> {
    let right = ZONE.get(name).map(|text| text.clone().into_bytes());
    match script.one_of(8) {
        0 => Ok(vec![script.chunk().to_vec()]),
        1 => Ok(Vec::new()),
        2 => {
            let text = script.chunk();
            Ok(vec![text.to_vec(), right.unwrap_or_default()])
        }
        3 => Ok(vec![root(script).to_string().into_bytes()]),
        4 => Err([LookupError::Timeout, LookupError::Missing, LookupError::Failed][usize::from(script.one_of(3))]),
        _ => right.map_or(Ok(Vec::new()), |text| Ok(vec![text])),
    }
}

/// Rightly signed, whatever it names.
fn root(script: &mut Script<'_>) -> Root {
    let mut label = || Label::of(ZONE.values().nth(script.byte().into()).map_or("", String::as_str));
    let (nodes, links) = (label(), label());
    Root::sign(&key(SIGNER), nodes, links, script.byte().into())
}
