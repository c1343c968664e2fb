//! `rln register`: becomes a member, or goes on where an earlier run ended.
//!
//! An identity is drawn and on disk before anything is paid ([`super::draft`]). A run that finds one there asks the contract about it: who
//! is a member already is written into the keystore, without paying; else what the account has sent is waited for, and the same
//! identity is registered. So a run may end anywhere, and nothing that was paid is lost, nor paid twice.

use std::{fmt, sync::Arc};

use membership::{
    B256,
    contract::{Commitment, Contract},
    provider::Provider,
    register::{self, Account, Cost, Place, RegisterError, Registered},
};
use serde_json::json;
use tokio::task::spawn_blocking;
use waku_rln::{
    Identity, Limit,
    keystore::{Credential, password::Password, sealed::Kdf},
};

use super::{
    commitment,
    draft::{DraftError, Drafts, Locked, at},
    explained, provider,
};
use crate::{
    cli::RegisterArgs,
    config::{
        ConfigError,
        rln::{Chain, account, limit, of_command},
    },
    keys::system_rng,
    output::{remark, say},
    rln::{
        ask::{Asked, asked},
        list::hex,
    },
};

/// Registers a member, or tells what that would cost.
///
/// # Errors
/// If a flag is wrong, the chain can't be asked, or the contract refuses.
pub async fn register(args: RegisterArgs) -> anyhow::Result<()> {
    let chain = of_command(&args.chain, &args.preset).map_err(ConfigError::from)?;
    let limit = limit(args.rln_relay_user_message_limit).map_err(ConfigError::from)?;
    let account = account(args.rln_relay_eth_private_key.as_ref()).map_err(ConfigError::from)?;
    let Chain { contract, .. } = chain;
    let task = Task {
        provider: provider(chain)?,
        contract,
        account,
        limit,
        execute: args.execute,
        remark: |line| remark(line),
    };
    let drafts = Drafts::beside(&args.rln_relay_cred_path, Kdf::default());
    let is_new = !args.rln_relay_cred_path.exists() && !drafts.has(&contract)?;
    let password = || Ok(asked(&args.password, if is_new { Asked::Twice } else { Asked::Once })?);
    let done = task.run(drafts, password, |cost| tell_cost(cost, &task.account, args.json)).await?;
    if let Some(member) = done {
        return tell_member(&member, &args);
    }
    remark("nothing was paid: add --execute to register");
    Ok(())
}

/// Who is to become a member, and where.
#[derive(Debug)]
struct Task {
    provider: Provider,
    contract: Contract,
    account: Account,
    limit: Limit,
    execute: bool,
    /// Tells a person how far it is.
    remark: fn(fmt::Arguments<'_>),
}

/// A member that is in the keystore.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    commitment: Commitment,
    index: u32,
    limit: Limit,
    /// The transaction and its block, if this run sent it.
    by: Option<(B256, u64)>,
}

impl Task {
    /// Goes on with what was begun, or begins. Nothing where that costs something that is not to be paid.
    async fn run(
        &self,
        drafts: Drafts,
        password: impl FnOnce() -> anyhow::Result<Password>,
        tell: impl FnOnce(&Cost) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<Member>> {
        if drafts.has(&self.contract)? {
            (self.remark)(format_args!("going on with the identity that is kept in {}", drafts.file().display()));
            let opened = Work { task: self, password: password()?, locked: Arc::new(drafts.lock()?) };
            return opened.go_on(tell).await;
        }
        let identity = Identity::random(&mut system_rng());
        let cost = self.cost(&identity).await?;
        tell(&cost)?;
        if !self.execute {
            return Ok(None);
        }
        cost.can_be_paid()?;
        let work = Work { task: self, password: password()?, locked: Arc::new(drafts.lock()?) };
        work.begin(identity).await.map(Some)
    }

    async fn cost(&self, identity: &Identity) -> anyhow::Result<Cost> {
        let (payer, limit) = (self.account.address(), self.limit.get().into());
        let cost = register::cost(&self.provider, &self.contract, payer, commitment(identity)?, limit).await;
        cost.map_err(explained)
    }
}

/// The same with drafts that nobody else works on.
struct Work<'a> {
    task: &'a Task,
    password: Password,
    locked: Arc<Locked>,
}

impl Work<'_> {
    /// With a new identity.
    async fn begin(&self, identity: Identity) -> anyhow::Result<Member> {
        // Somebody else may have begun before the lock was ours.
        if let Some(draft) = self.draft().await? {
            return self.pay(draft.identity).await;
        }
        self.blocking(|locked, password| locked.check(password)).await?;
        self.pay(identity).await
    }

    /// With the identity that is there.
    async fn go_on(&self, tell: impl FnOnce(&Cost) -> anyhow::Result<()>) -> anyhow::Result<Option<Member>> {
        let Task { provider, account, execute, .. } = self.task;
        let Some(draft) = self.draft().await? else { anyhow::bail!("it is gone meanwhile: run this again") };
        if let Some(place) = self.place(&draft).await? {
            return self.finish(draft, place, None).await.map(Some);
        }
        if *execute {
            register::settled(provider, account.address()).await.map_err(explained)?;
            if let Some(place) = self.place(&draft).await? {
                return self.finish(draft, place, None).await.map(Some);
            }
        }
        let cost = self.task.cost(&draft.identity).await?;
        tell(&cost)?;
        if !execute {
            return Ok(None);
        }
        cost.can_be_paid()?;
        self.blocking(|locked, password| locked.check(password)).await?;
        self.pay(draft.identity).await.map(Some)
    }

    /// Writes the identity down, registers it, and writes that down.
    async fn pay(&self, identity: Identity) -> anyhow::Result<Member> {
        let Task { contract, limit, remark, .. } = *self.task;
        let written = identity.clone();
        self.blocking(move |locked, password| locked.write(&contract, written, limit, password)).await?;
        remark(format_args!("registering with {} on chain {}: this takes a minute", contract.address, contract.chain));
        let draft = Credential { membership: at(&contract, 0), identity, limit: Some(limit) };
        let registered = match self.registered(commitment(&draft.identity)?).await {
            Ok(registered) => registered,
            Err(error) => return self.unheard(draft, error).await,
        };
        let Registered { index, transaction, block, .. } = registered;
        self.finish(draft, Place { index, limit: None }, Some((transaction, block))).await
    }

    /// It failed, or so it seems: who is a member all the same is one.
    async fn unheard(&self, draft: Credential, error: RegisterError) -> anyhow::Result<Member> {
        if let Ok(Some(place)) = self.place(&draft).await {
            return self.finish(draft, place, None).await;
        }
        let file = self.locked.file().display();
        Err(explained(error).context(format!("the identity is kept in {file}: run this again, and it goes on with it")))
    }

    async fn registered(&self, commitment: Commitment) -> Result<Registered, RegisterError> {
        let Task { provider, contract, account, limit, remark, .. } = self.task;
        waited(register::register(provider, contract, account, commitment, limit.get().into()), *remark).await
    }

    async fn draft(&self) -> anyhow::Result<Option<Credential>> {
        let contract = self.task.contract;
        self.blocking(move |locked, password| locked.draft(&contract, password)).await
    }

    async fn place(&self, draft: &Credential) -> anyhow::Result<Option<Place>> {
        place(&self.task.provider, &self.task.contract, draft).await
    }

    async fn finish(&self, draft: Credential, place: Place, by: Option<(B256, u64)>) -> anyhow::Result<Member> {
        let (contract, member) = (self.task.contract, member(&self.task.contract, draft, place)?);
        let (commitment, index) = (commitment(&member.identity)?, member.membership.index);
        let limit = member.limit.unwrap_or(self.task.limit);
        self.blocking(move |locked, password| locked.finish(&contract, &member, password)).await?;
        Ok(Member { commitment, index, limit, by })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Locked, &Password) -> Result<T, DraftError> + Send + 'static,
    ) -> anyhow::Result<T> {
        let (locked, password) = (Arc::clone(&self.locked), self.password.clone());
        Ok(spawn_blocking(move || work(&locked, &password)).await??)
    }
}

/// Asks the contract where a draft is a member.
async fn place(provider: &Provider, contract: &Contract, draft: &Credential) -> anyhow::Result<Option<Place>> {
    let limit = draft.limit.ok_or_else(|| anyhow::anyhow!("a draft without its number of messages"))?;
    let leaf = draft.identity.rate_commitment(limit);
    register::place(provider, contract, commitment(&draft.identity)?, &leaf).await.map_err(explained)
}

/// A draft as the member that it has become.
fn member(contract: &Contract, draft: Credential, place: Place) -> anyhow::Result<Credential> {
    let told = place.limit.map(|limit| Limit::new(limit.into()).ok_or(limit)).transpose();
    let told =
        told.map_err(|limit| anyhow::anyhow!("the contract tells {limit} messages an epoch, which can't be proven"))?;
    Ok(Credential { membership: at(contract, place.index), limit: told.or(draft.limit), ..draft })
}

/// What has become of the draft beside a keystore, for who asks about memberships: one that is a member is moved into the keystore; one
/// that is none is returned.
pub(super) async fn unfinished(
    provider: &Provider,
    contract: Contract,
    locked: Locked,
    password: &Password,
    remark: fn(fmt::Arguments<'_>),
) -> anyhow::Result<Option<Credential>> {
    let (locked, word) = (Arc::new(locked), password.clone());
    let held = Arc::clone(&locked);
    let draft = spawn_blocking(move || held.draft(&contract, &word)).await??;
    let Some(draft) = draft else { return Ok(None) };
    let Some(place) = place(provider, &contract, &draft).await? else { return Ok(Some(draft)) };
    let (member, word) = (member(&contract, draft, place)?, password.clone());
    spawn_blocking(move || locked.finish(&contract, &member, &word)).await??;
    remark(format_args!("member {}, of whose registration nobody had heard, is in the keystore now", place.index));
    Ok(None)
}

/// Waits for transactions, and says how long it takes.
pub(super) async fn waited<T>(sent: impl Future<Output = T>, remark: fn(fmt::Arguments<'_>)) -> T {
    let mut sent = std::pin::pin!(sent);
    let mut seconds = 0;
    loop {
        tokio::select! {
            done = &mut sent => return done,
            () = tokio::time::sleep(register::RECEIPT_EVERY * 5) => {
                seconds += register::RECEIPT_EVERY.as_secs() * 5;
                remark(format_args!("waiting for the transactions to be in a block: {seconds} s"));
            }
        }
    }
}

pub(super) fn tell_cost(cost: &Cost, account: &Account, as_json: bool) -> anyhow::Result<()> {
    let deposit = cost.deposit;
    if as_json {
        let deposit = deposit.map(
            |it| json!({"token": it.token.to_string(), "amount": it.amount.to_string(), "has": it.has.to_string()}),
        );
        let told = json!({"account": account.address().to_string(), "gas": cost.gas, "fee": cost.fee().to_string(), "has": cost.ether.to_string(), "deposit": deposit});
        say(told)?;
        return Ok(());
    }
    say(format_args!("account    {}", account.address()))?;
    say(format_args!("fee        {} wei, at most twice that; the account has {}", cost.fee(), cost.ether))?;
    if let Some(it) = deposit {
        say(format_args!("deposit    {} of token {}; the account has {}", it.amount, it.token, it.has))?;
    }
    if let Err(error) = cost.can_be_paid() {
        remark(error);
    }
    Ok(())
}

fn tell_member(member: &Member, args: &RegisterArgs) -> anyhow::Result<()> {
    let Member { index, limit, by, .. } = *member;
    let (file, commitment) = (args.rln_relay_cred_path.display(), hex(member.commitment.element()));
    if args.json {
        let (transaction, block) = by.unzip();
        let transaction = transaction.map(|hash| hash.to_string());
        say(
            json!({"index": index, "limit": limit.get(), "transaction": transaction, "block": block, "commitment": commitment, "keystore": file.to_string()}),
        )?;
        return Ok(());
    }
    let by = match by {
        Some((transaction, block)) => format!("transaction {transaction}, block {block}"),
        None => "registered by an earlier run".to_owned(),
    };
    say(format_args!("member {index}, {} messages an epoch, in {file} ({by})", limit.get()))?;
    Ok(())
}

#[cfg(test)]
#[path = "register_tests.rs"]
mod tests;
