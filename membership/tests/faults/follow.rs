//! Following, in simulated time.

use std::time::Duration;

use membership::{
    contract::{self, Contract, Flavour, Garbled},
    follow::{self, Group, Health, Settings},
    path::Own,
    provider::{ATTEMPTS, At, Fault, MAX_BACK_OFF, Provider, REQUEST_TIMEOUT},
};
use tokio::time::sleep;
use waku2::rln::element::Element;

use super::chain::{Behaves, Chain};

const SECOND: Duration = Duration::from_secs(1);

/// Somebody follows, until the test is over.
fn follows(provider: Provider) -> Group {
    let (follower, group) = follow::follow(provider, Contract::TWN, Settings::default());
    tokio::spawn(follower.run());
    group
}

fn newest(group: &Group) -> Option<Element> {
    group.known.roots.borrow().newest().copied()
}

fn health(group: &Group) -> Health {
    group.health.borrow().clone()
}

fn root(number: u64) -> Option<Element> {
    Some(Element::from(number))
}

async fn ask(provider: &Provider) -> Result<Element, Fault> {
    provider.call(Contract::TWN.address, &Flavour::Current.ask_root(), At::Latest, contract::root).await
}

#[tokio::test(start_paused = true)]
async fn the_root_is_read_every_five_seconds_and_at_once_when_one_is_missed() {
    let chain = Chain::new(&[1]);
    let group = follows(chain.provider(&["a"]));
    sleep(SECOND / 10).await;
    assert_eq!(newest(&group), root(1));
    chain.mine(&[2]);
    sleep(4 * SECOND).await;
    assert_eq!(newest(&group), root(1));
    sleep(SECOND).await;
    assert_eq!(newest(&group), root(2));
    chain.mine(&[3]);
    group.known.look.notify_one();
    sleep(SECOND).await;
    assert_eq!(newest(&group), root(3));
}

#[tokio::test(start_paused = true)]
async fn whoever_misses_roots_has_the_chain_asked_once_a_second_at_most() {
    let chain = Chain::new(&[1]);
    let group = follows(chain.provider(&["a"]));
    sleep(SECOND / 10).await;
    chain.asked("a", "eth_blockNumber");
    for _ in 0..100 {
        group.known.look.notify_one();
        sleep(SECOND / 10).await;
    }
    let asked = chain.asked("a", "eth_blockNumber");
    assert!((9..=11).contains(&asked), "{asked} looks in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn own_paths_come_with_their_root() {
    let chain = Chain::new(&[1, 2]);
    let group = follows(chain.provider(&["a"]));
    group.own(Own::new([3]).unwrap());
    let mut places = group.places.clone();
    let first = places.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!((Some(first.root), first.block, first.paths[&3][0]), (root(2), 1, Element::from(1_003)));
    chain.mine(&[9]);
    let next = places.wait_for(|places| places.as_ref().is_some_and(|places| places.block == 2)).await.unwrap();
    assert_eq!(next.as_ref().map(|next| (Some(next.root), next.paths[&3][0])), Some((root(9), Element::from(2_003))));
}

#[tokio::test(start_paused = true)]
async fn f18_while_the_only_provider_is_down_the_last_roots_count_and_its_return_is_seen_within_a_minute() {
    let chain = Chain::new(&[1]);
    let group = follows(chain.provider(&["a"]));
    sleep(SECOND).await;
    for bad in
        [Behaves::Down, Behaves::Slow(30), Behaves::Tired(None), Behaves::Limited, Behaves::Garbage, Behaves::BadRoot]
    {
        chain.behaves("a", bad);
        sleep(300 * SECOND).await;
        assert_eq!(newest(&group), root(1), "{bad:?}");
        let failing = health(&group).failing.expect("it fails");
        assert!(failing.looks > 10, "{bad:?}: {failing:?}");
        // It is left alone for ever longer: a minute at most, and each question is asked a few times.
        chain.asked("a", "eth_chainId");
        sleep(600 * SECOND).await;
        let asked = chain.asked("a", "eth_chainId");
        assert!((1..=20).contains(&asked), "{bad:?}: {asked} questions in ten minutes");
        chain.behaves("a", Behaves::Well);
        sleep(MAX_BACK_OFF + REQUEST_TIMEOUT + 5 * SECOND).await;
        assert_eq!(health(&group).failing, None, "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f18_another_provider_answers_when_the_first_does_not() {
    for bad in [
        Behaves::Down,
        Behaves::Slow(30),
        Behaves::OtherChain(1),
        Behaves::Tired(Some(30)),
        Behaves::Limited,
        Behaves::Garbage,
        Behaves::BadRoot,
        Behaves::Refuses,
        Behaves::NoContract,
    ] {
        let chain = Chain::new(&[1, 7]);
        chain.behaves("a", bad);
        let group = follows(chain.provider(&["a", "b"]));
        sleep(REQUEST_TIMEOUT * 3).await;
        assert_eq!((newest(&group), health(&group).failing), (root(7), None), "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f18_a_provider_of_another_chain_is_left_out_and_never_believed() {
    let chain = Chain::new(&[7]);
    chain.behaves("a", Behaves::OtherChain(1));
    let provider = chain.provider(&["a"]);
    let wrong = Fault::WrongChain { expected: Contract::TWN.chain, found: 1 };
    for _ in 0..50 {
        assert_eq!(ask(&provider).await, Err(wrong.clone()));
    }
    assert_eq!((chain.asked("a", "eth_chainId"), chain.asked("a", "eth_call")), (1, 0));
    // Somebody repairs it.
    chain.behaves("a", Behaves::Well);
    sleep(600 * SECOND).await;
    assert_eq!(ask(&provider).await.ok(), root(7));
}

#[tokio::test(start_paused = true)]
async fn f18_a_provider_that_comes_back_as_another_chain_is_noticed() {
    let chain = Chain::new(&[7]);
    let provider = chain.provider(&["a"]);
    assert_eq!(ask(&provider).await.ok(), root(7));
    chain.behaves("a", Behaves::Down);
    assert_eq!(ask(&provider).await, Err(Fault::Unreachable));
    chain.behaves("a", Behaves::OtherChain(5));
    sleep(MAX_BACK_OFF).await;
    assert!(matches!(ask(&provider).await, Err(Fault::WrongChain { found: 5, .. })));
}

#[tokio::test(start_paused = true)]
async fn f18_one_question_is_asked_a_few_times_and_no_more() {
    let hosts: Vec<String> = (0..16).map(|host| format!("h{host}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    for bad in [Behaves::Down, Behaves::Slow(30), Behaves::Garbage] {
        for hosts in [&hosts[..1], &hosts[..]] {
            let chain = Chain::new(&[7]);
            hosts.iter().for_each(|host| chain.behaves(host, bad));
            ask(&chain.provider(hosts)).await.unwrap_err();
            let asked: usize = hosts.iter().map(|host| chain.asked(host, "eth_chainId")).sum();
            assert!((1..=ATTEMPTS).contains(&asked), "{bad:?}: {asked}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn f18_garbage_has_a_name() {
    for (bad, fault) in [
        (Behaves::BadRoot, Fault::Contract(Garbled::Range)),
        (Behaves::NoContract, Fault::Contract(Garbled::NoContract)),
        (Behaves::Garbage, Fault::Garbage),
        (Behaves::Slow(30), Fault::Timeout),
        (Behaves::Limited, Fault::RateLimited { after: None }),
    ] {
        let chain = Chain::new(&[7]);
        chain.behaves("a", bad);
        assert_eq!(ask(&chain.provider(&["a"])).await, Err(fault), "{bad:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f18_a_reorganisation_of_five_blocks_is_followed() {
    let chain = Chain::new(&(1..=20).collect::<Vec<_>>());
    let group = follows(chain.provider(&["a"]));
    group.own(Own::new([3]).unwrap());
    sleep(6 * SECOND).await;
    assert_eq!(newest(&group), root(20));
    chain.take_back(15);
    chain.mine(&[100, 101, 102, 103, 104, 105]);
    sleep(6 * SECOND).await;
    assert_eq!(newest(&group), root(105));
    let known = group.known.roots.borrow().clone();
    assert!((100..=105).all(|number| known.contains(&Element::from(number))));
    assert_eq!(group.places.borrow().as_ref().map(|places| places.root), root(105));
}

#[tokio::test(start_paused = true)]
async fn f19_a_burst_between_two_looks_loses_no_root() {
    let chain = Chain::new(&[1]);
    let group = follows(chain.provider(&["a"]));
    sleep(SECOND).await;
    chain.mine(&[2, 3, 4, 5, 5, 5, 6, 7]);
    sleep(6 * SECOND).await;
    let known = group.known.roots.borrow().clone();
    assert!((1..=7).all(|number| known.contains(&Element::from(number))));
    assert_eq!((known.len(), newest(&group)), (7, root(7)));
}

#[tokio::test(start_paused = true)]
async fn blocks_before_the_contract_was_there_are_not_held_against_a_provider() {
    let chain = Chain::new(&[0, 0, 0, 1]);
    let group = follows(chain.provider(&["a"]));
    sleep(SECOND).await;
    assert_eq!((chain.asked("a", "eth_chainId"), newest(&group)), (1, root(1)));
    chain.mine(&[2, 3, 4]);
    sleep(5 * SECOND).await;
    let known = group.known.roots.borrow().clone();
    assert!((1..=4).all(|number| known.contains(&Element::from(number))) && known.len() == 4);
    assert_eq!(chain.asked("a", "eth_chainId"), 0, "it was never set aside");
}

#[tokio::test(start_paused = true)]
async fn f19_a_provider_without_some_blocks_tells_the_newest_root_nevertheless() {
    let chain = Chain::new(&[1]);
    let group = follows(chain.provider(&["a"]));
    sleep(SECOND).await;
    chain.mine(&[2, 3, 4, 5]);
    chain.forget_before(4);
    sleep(6 * SECOND).await;
    assert_eq!((newest(&group), health(&group).failing), (root(5), None));
    assert!(!group.known.roots.borrow().contains(&Element::from(3)), "nobody can know it");
}
