//! Members, as an operator makes them: what it costs, the registration, and what the contract says of them afterwards.

use super::ground::{Ground, PASSWORD, PRICE};
use crate::process::{Event, Process, number, text};
use anyhow::{Context as _, Result, ensure};
use membership::status;
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// The environment hides the key of the account that pays.
const KEY: &str = "CAUSEWAY_RLN_RELAY_ETH_PRIVATE_KEY";
/// A transaction or two, and the two keys that are derived of the password.
const RUN: Duration = Duration::from_secs(90);
/// More than the time in which a membership is active.
const HALF_A_YEAR_SECS: u64 = 181 * 86_400;

/// As whom the program is called.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// `rln register`.
    Register,
    /// nwaku's word for it.
    GenerateRlnKeystore,
}

/// A membership in a keystore.
#[derive(Debug)]
pub(super) struct Membership {
    keystore: PathBuf,
    index: u64,
    pub(super) limit: u64,
}

impl Membership {
    /// For a node that is to prove with it.
    pub(super) fn flag(&self) -> String {
        format!("--rln-relay-cred-path={}", self.keystore.display())
    }
}

impl Ground<'_> {
    /// Registers a member, after having asked what it costs, which must change nothing.
    pub(super) fn register(&self, form: Form, name: &str, limit: u64) -> Result<Membership> {
        let keystore = self.lab.data_dir(&format!("rln-{name}.json"));
        let (index, deposit) = (self.members()?, (limit * PRICE).to_string());
        let mut member = Membership { keystore, index: index.into(), limit };
        let [cost] = self.said(form, &member, &[])?;
        let (asked, had) = (text(&cost["deposit"], "amount"), text(&cost["deposit"], "has"));
        ensure!(asked == deposit, "{limit} messages at {PRICE} each: {cost}");
        ensure!(!member.keystore.exists() && self.members()? == index, "to ask for the price has changed something");
        let [told, registered] = self.said(form, &member, &["--execute"])?;
        ensure!(told == cost, "first {cost}, then {told}");
        ensure!(number(&registered, "limit") == Some(limit), "registered as {registered}");
        member.index = number(&registered, "index").context("no index")?;
        ensure!(member.index == u64::from(index) && self.members()? == index + 1, "after {index}: {registered}");
        let draft = member.keystore.with_extension("unregistered.json");
        ensure!(member.keystore.exists() && !draft.exists(), "the membership is not in its keystore alone");
        let [after] = self.said(form, &Membership { keystore: draft, ..member }, &[])?;
        let paid = had.parse::<u128>()?.checked_sub(text(&after["deposit"], "has").parse()?);
        ensure!(paid == deposit.parse().ok(), "the deposit is {deposit}, and {paid:?} went");
        Ok(Membership { keystore: self.lab.data_dir(&format!("rln-{name}.json")), ..member })
    }

    fn members(&self) -> Result<u32> {
        let contract = self.chain.contract()?;
        let provider = self.chain.provider(contract.chain)?;
        Ok(self.runtime.block_on(status::members(&provider, &contract))?)
    }

    /// What the program says when it is to register.
    fn said<const N: usize>(&self, form: Form, who: &Membership, more: &[&str]) -> Result<[Event; N]> {
        let (mut words, password) = match form {
            Form::Register => (vec!["rln".to_owned(), "register".to_owned()], self.password.clone()),
            // As scripts for nwaku have it.
            Form::GenerateRlnKeystore => {
                (vec!["generateRlnKeystore".to_owned()], format!("--rln-relay-cred-password={PASSWORD}"))
            }
        };
        let limit = format!("--rln-relay-user-message-limit={}", who.limit);
        words.extend([password, limit, who.flag(), "--json".to_owned()]);
        words.extend(self.group()?);
        words.extend(more.iter().map(|&word| word.to_owned()));
        self.run(&words)
    }

    /// What `rln status` says of the membership.
    pub(super) fn told_as(&self, who: &Membership, life: &str) -> Result<()> {
        let mut words = vec!["rln".to_owned(), "status".to_owned(), "--json".to_owned()];
        words.extend([who.flag(), self.password.clone()]);
        words.extend(self.group()?);
        let [told] = self.run(&words)?;
        let is_so = (number(&told, "index"), number(&told, "limit")) == (Some(who.index), Some(who.limit));
        ensure!(is_so && text(&told, "status").starts_with(life), "{who:?} is told as {told}");
        Ok(())
    }

    fn run<const N: usize>(&self, words: &[String]) -> Result<[Event; N]> {
        let key = self.chain.key(0);
        let run = Process::spawn_in(&[(KEY, key)], "causeway rln", &self.lab.programs().causeway, words)?;
        let status = run.exit(RUN)?;
        ensure!(status.success(), run.failure(&format!("it ended with {status}")));
        let secret = key.trim_start_matches("0x");
        let said = run.log().since(0);
        ensure!(!format!("{said:?}{}", run.stderr()).contains(secret), "the key of the account is told");
        said.try_into().map_err(|_| run.failure(&format!("it did not say {N} things")))
    }

    /// The chain's clock moves on, and the membership is no longer active.
    pub(super) fn half_a_year_later(&self, who: &Membership) -> Result<()> {
        self.runtime.block_on(async {
            self.chain.ask("evm_increaseTime", json!([HALF_A_YEAR_SECS])).await?;
            self.chain.ask("evm_mine", json!([])).await
        })?;
        self.told_as(who, "in its grace period")
    }
}
