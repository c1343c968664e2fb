//! Memberships at a chain that runs: registration, roots, paths, a reorganisation, the end of a membership, and a node that
//! restarts.
//!
//! The group's first member is the one of the published chain of values, so that root and path are known without computing any.

use super::Lab;
use crate::chain_peer::ChainPeer;
use anyhow::{Context, Result, bail, ensure};
use membership::{
    U256,
    contract::{self, Commitment, Contract, Flavour},
    follow::{self, Group, Settings},
    path::Own,
    provider::{At, Fault, Provider, Revert},
    register::{self, Account, RegisterError, extend},
    status::{self, Life},
};
use serde_json::json;
use std::time::Duration;
use tokio::{runtime::Runtime, task::JoinHandle, time::timeout};
use waku2::rln::element::Element;

/// The ids of the chains that both contracts are deployed on.
const CURRENT: u64 = Contract::TWN.chain;
const EARLIER: u64 = Contract::TWN_SPEC.chain;
/// Of the published member, with 100 messages an epoch: its commitment, and the root of a tree with it alone.
const COMMITMENT: &str = "78758c7b421da3df7f56b3c5f0bb1536a9a5cafe471eea5790864a5c6fe5022c";
const ROOT: &str = "507a6def7128168f64a915e7145fcf490802258bfa2a175f066babd8a6879d20";
const LIMIT: u32 = 100;
/// Poseidon of two empty leaves.
const EMPTY_PAIR: &str = "14744269619966411208579211824598458697587494354926760081771325075741142829156";
/// The price of a message of the limit, in the smallest unit of the token.
const PRICE: u64 = 10;
/// Until a look falls on what has changed, or a provider that was away is asked again.
const SEEN: Duration = Duration::from_secs(90);
/// How often the root is read here.
const EVERY: Duration = Duration::from_secs(1);

/// With the current contract, and then with the earlier one.
pub(super) fn at_a_chain(lab: &Lab) -> Result<String> {
    let runtime = Runtime::new().context("a runtime for our side")?;
    let state = lab.data_dir("chain.json");
    let state = state.to_str().context("a path in Unicode")?;
    let script = &lab.programs().chain;
    let price = PRICE.to_string();
    let chain = ChainPeer::start(script, "chain", CURRENT, &["--price", &price, "--", "--state", state])?;
    let (contract, port) = (chain.contract()?, chain.port());
    let group = runtime.block_on(async {
        pays_and_joins(&chain, &contract).await?;
        let group = Followed::new(chain.provider(CURRENT)?, contract);
        first_member(&group).await?;
        burst(&chain, &contract, &group).await?;
        reorganised(&chain, &contract, &group).await?;
        anyhow::Ok(group)
    })?;
    let newest = group.newest()?;
    chain.stop()?;
    runtime.block_on(group.fails(&newest))?;
    let chain =
        ChainPeer::start_at(script, "chain again", CURRENT, port, &["--contract", "none", "--", "--state", state])?;
    runtime.block_on(async {
        returned(&chain, &contract, &group).await?;
        lives(&chain, &contract).await
    })?;
    let earlier = ChainPeer::start(script, "earlier chain", EARLIER, &["--contract", "RlnEarlier"])?;
    runtime.block_on(of_the_earlier_flavour(&earlier))?;
    Ok("7 members with deposits, 2 of the earlier contract; published root and path; a reorganisation and a restart"
        .into())
}

/// Following, for as long as this lives.
struct Followed {
    group: Group,
    task: JoinHandle<()>,
}

impl Followed {
    fn new(provider: Provider, contract: Contract) -> Self {
        let (follower, group) = follow::follow(provider, contract, Settings { every: EVERY });
        Self { group, task: tokio::spawn(follower.run()) }
    }

    fn newest(&self) -> Result<Element> {
        self.group.known.roots.borrow().newest().copied().context("no root is known")
    }

    /// Waits until this is the newest root.
    async fn is_at(&self, root: &Element) -> Result<()> {
        let mut roots = self.group.known.roots.clone();
        let seen = roots.wait_for(|roots| roots.newest() == Some(root));
        timeout(SEEN, seen).await.with_context(|| format!("{root:?} is not seen"))??;
        Ok(())
    }

    /// Waits until it is noticed that the chain is away. The last root counts all the while.
    async fn fails(&self, newest: &Element) -> Result<()> {
        let mut health = self.group.health.clone();
        let fails = health.wait_for(|health| health.failing.is_some());
        timeout(SEEN, fails).await.context("nobody notices that the chain is away")??;
        ensure!(self.newest()? == *newest, "the newest root is forgotten while the chain is away");
        Ok(())
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn element(hex_le: &str) -> Result<Element> {
    let bytes = hex::decode(hex_le)?.try_into().ok().context("32 bytes")?;
    Element::canonical(bytes).context("below the modulus")
}

fn commitment(who: u64) -> Result<Commitment> {
    Commitment::new(Element::from(who)).context("not zero")
}

fn published() -> Result<Commitment> {
    Commitment::new(element(COMMITMENT)?).context("not zero")
}

async fn root(provider: &Provider, contract: &Contract) -> Result<Element> {
    Ok(provider.call(contract.address, &contract.flavour.ask_root(), At::Latest, contract::root).await?)
}

/// Registers somebody with the lowest limit that both contracts take, and says the index and the root after it.
async fn joins(provider: &Provider, contract: &Contract, account: &Account, who: u64) -> Result<(u32, Element)> {
    let registered = register::register(provider, contract, account, commitment(who)?, 20).await?;
    Ok((registered.index, root(provider, contract).await?))
}

/// What it costs is told before, what cannot be is refused by name, and the published member gets index 0.
async fn pays_and_joins(chain: &ChainPeer, contract: &Contract) -> Result<()> {
    let (provider, account) = (chain.provider(CURRENT)?, chain.account(0)?);
    let me = published()?;
    let cost = register::cost(&provider, contract, account.address(), me, LIMIT).await?;
    let deposit = cost.deposit.context("a contract with a price asks for no deposit")?;
    ensure!(
        deposit.amount == U256::from(u64::from(LIMIT) * PRICE) && deposit.needs_approval(),
        "a deposit of {deposit:?}"
    );
    cost.can_be_paid()?;
    refuses(chain, contract, &provider).await?;
    let registered = register::register(&provider, contract, &account, me, LIMIT).await?;
    ensure!((registered.index, registered.limit) == (0, LIMIT), "registered as {registered:?}");
    let after = register::cost(&provider, contract, account.address(), commitment(2)?, LIMIT).await?;
    let paid = after.deposit.context("no deposit")?;
    ensure!(deposit.has - paid.has == deposit.amount && paid.approved.is_zero(), "{paid:?} after {deposit:?}");
    let again = register::register(&provider, contract, &account, me, LIMIT).await;
    ensure!(again == Err(RegisterError::AlreadyRegistered { index: Some(0) }), "registered twice: {again:?}");
    let status = status::status(&provider, contract, me).await?;
    ensure!((status.life, status.index, status.limit) == (Life::Active, Some(0), Some(LIMIT)), "{status:?}");
    ensure!(status::status(&provider, contract, commitment(9)?).await?.life == Life::Absent, "a member that is none");
    ensure!(status::members(&provider, contract).await? == 1, "another number of members");
    Ok(())
}

/// Limits out of bounds, an account with nothing, a contract that is none, another chain.
async fn refuses(chain: &ChainPeer, contract: &Contract, provider: &Provider) -> Result<()> {
    let (me, account) = (published()?, chain.account(0)?);
    for limit in [19, 601] {
        let refused = register::cost(provider, contract, account.address(), me, limit).await;
        ensure!(refused == Err(RegisterError::Limit { limit, lowest: 20, highest: 600 }), "{limit}: {refused:?}");
    }
    let stranger: Account = "01".repeat(32).parse()?;
    let poor = register::register(provider, contract, &stranger, me, LIMIT).await;
    ensure!(
        matches!(poor, Err(RegisterError::NotEnoughToken { has, .. }) if has.is_zero()),
        "without tokens: {poor:?}"
    );
    let nothing = Contract { address: stranger.address(), ..*contract };
    let none = root(&chain.provider(CURRENT)?, &nothing).await;
    ensure!(none.is_err_and(|error| error.is::<Fault>()), "an address without a contract has a root");
    let wrong = chain.provider(1)?.block().await;
    ensure!(wrong == Err(Fault::WrongChain { expected: 1, found: CURRENT }), "of another chain: {wrong:?}");
    Ok(())
}

/// The root and the path of the published member.
async fn first_member(group: &Followed) -> Result<()> {
    group.is_at(&element(ROOT)?).await?;
    group.group.own(Own::new([0])?);
    let mut places = group.group.places.clone();
    let seen = places.wait_for(Option::is_some);
    let places = timeout(SEEN, seen).await.context("no path is seen")??.clone().context("there is one")?;
    let path = places.paths.get(&0).context("no path of index 0")?;
    let pair: U256 = EMPTY_PAIR.parse()?;
    ensure!(places.root == element(ROOT)? && path[0] == Element::ZERO, "{places:?}");
    ensure!(path[1].bytes() == &pair.to_le_bytes::<32>(), "the path's second element is {:?}", path[1]);
    Ok(())
}

/// Four members one after the other: no root between is lost, and the path goes with the newest.
async fn burst(chain: &ChainPeer, contract: &Contract, group: &Followed) -> Result<()> {
    let (provider, mut roots) = (chain.provider(CURRENT)?, Vec::new());
    for who in 2..=5_usize {
        let (index, root) = joins(&provider, contract, &chain.account(who)?, who as u64).await?;
        ensure!(index as usize == who - 1, "member {who} has index {index}");
        roots.push(root);
    }
    let newest = roots.last().context("four roots")?;
    group.is_at(newest).await?;
    let mut places = group.group.places.clone();
    let there = places.wait_for(|places| places.as_ref().is_some_and(|places| places.root == *newest));
    timeout(SEEN, there).await.context("no path goes with the newest root")??;
    // What lies between is looked for at once, but after the newest.
    let mut known = group.group.known.roots.clone();
    let all = known.wait_for(|known| roots.iter().all(|root| known.contains(root)));
    timeout(SEEN, all).await.context("a root of the burst is lost")??;
    Ok(())
}

/// The last member goes with its block; another one comes in its place.
async fn reorganised(chain: &ChainPeer, contract: &Contract, group: &Followed) -> Result<()> {
    let provider = chain.provider(CURRENT)?;
    let before = root(&provider, contract).await?;
    let snapshot = chain.ask("evm_snapshot", json!([])).await?;
    let (index, gone) = joins(&provider, contract, &chain.account(6)?, 60).await?;
    group.is_at(&gone).await?;
    let reverted = chain.ask("evm_revert", json!([snapshot])).await?;
    ensure!(reverted == json!(true), "the chain does not go back");
    group.is_at(&before).await?;
    ensure!(status::status(&provider, contract, commitment(60)?).await?.life == Life::Absent, "it is still a member");
    let (again, other) = joins(&provider, contract, &chain.account(6)?, 61).await?;
    ensure!(again == index && other != gone, "another member has index {again}, not {index}");
    group.is_at(&other).await
}

/// The chain is there again, with all that was on it, and is followed without anybody's doing.
async fn returned(chain: &ChainPeer, contract: &Contract, group: &Followed) -> Result<()> {
    let provider = chain.provider(CURRENT)?;
    let (index, root) = joins(&provider, contract, &chain.account(7)?, 7).await?;
    ensure!(index == 6, "the seventh member has index {index}: the chain has forgotten");
    group.is_at(&root).await?;
    let mut health = group.group.health.clone();
    let well = health.wait_for(|health| health.failing.is_none());
    timeout(SEEN, well).await.context("the chain is back, but not for us")??;
    Ok(())
}

/// Half a year, then a month more.
async fn lives(chain: &ChainPeer, contract: &Contract) -> Result<()> {
    let (provider, me) = (chain.provider(CURRENT)?, published()?);
    let account = chain.account(0)?;
    let early = extend::extend(&provider, contract, &account, &[me]).await;
    ensure!(matches!(early, Err(RegisterError::Reverted(_))), "extended before its time: {early:?}");
    for (days, life) in [
        (179, Life::Active),
        (2, Life::Grace),
        (0, Life::Active),
        (208, Life::Active),
        (2, Life::Grace),
        (31, Life::Expired),
    ] {
        if days == 0 {
            let foreign = extend::extend(&provider, contract, &chain.account(1)?, &[me]).await;
            ensure!(matches!(foreign, Err(RegisterError::Reverted(_))), "extended by somebody else: {foreign:?}");
            extend::extend(&provider, contract, &account, &[me]).await?;
        }
        chain.ask("evm_increaseTime", json!([days * 86_400])).await?;
        chain.ask("evm_mine", json!([])).await?;
        let status = status::status(&provider, contract, me).await?;
        ensure!(status.life == life && status.index == Some(0), "after {days} days more: {status:?}");
    }
    Ok(())
}

/// The contract that the text names: no deposit, no life, and other calls.
async fn of_the_earlier_flavour(chain: &ChainPeer) -> Result<()> {
    let (contract, provider) = (chain.contract()?, chain.provider(EARLIER)?);
    ensure!(contract.flavour == Flavour::Earlier, "of flavour {:?}", contract.flavour);
    let account = chain.account(0)?;
    let cost = register::cost(&provider, &contract, account.address(), published()?, LIMIT).await?;
    ensure!(cost.deposit.is_none(), "a deposit of {:?}", cost.deposit);
    let over = register::register(&provider, &contract, &account, published()?, 101).await;
    ensure!(over == Err(RegisterError::Limit { limit: 101, lowest: 1, highest: 100 }), "101 messages: {over:?}");
    let registered = register::register(&provider, &contract, &account, published()?, LIMIT).await?;
    ensure!(
        registered.index == 0 && root(&provider, &contract).await? == element(ROOT)?,
        "registered as {registered:?}"
    );
    let again = register::register(&provider, &contract, &account, published()?, LIMIT).await;
    ensure!(again == Err(RegisterError::AlreadyRegistered { index: None }), "registered twice: {again:?}");
    // What the contract itself says, had nobody asked before.
    let call = contract.flavour.register(published()?, LIMIT);
    match provider.estimate(account.address(), contract.address, &call).await {
        Err(Fault::Reverted(Revert::Reason(reason))) if reason == "registered" => {}
        other => bail!("the contract says {other:?}"),
    }
    let group = Followed::new(provider.clone(), contract);
    group.is_at(&element(ROOT)?).await?;
    group.group.own(Own::new([0])?);
    let (_, newest) = joins(&provider, &contract, &chain.account(1)?, 2).await?;
    group.is_at(&newest).await?;
    let mut places = group.group.places.clone();
    let there = places.wait_for(|places| places.as_ref().is_some_and(|places| places.root == newest));
    let places = timeout(SEEN, there).await.context("no path goes with the newest root")??.clone();
    let path = places.and_then(|places| places.paths.get(&0).copied()).context("no path of index 0")?;
    ensure!(path[0] != Element::ZERO, "the first member has a neighbour now");
    ensure!(status::status(&provider, &contract, published()?).await?.life == Life::Active, "it is no member");
    ensure!(status::members(&provider, &contract).await? == 2, "another number of members");
    Ok(())
}
