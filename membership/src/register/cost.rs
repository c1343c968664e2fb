//! What a membership costs, and whether somebody can have it: core.

use alloy_primitives::{Address, U256};

use super::RegisterError;

/// Gas for a registration whose need cannot be asked for before the deposit is approved.
pub const ASSUMED_GAS: u64 = 1_500_000;

/// Gas for approving a deposit.
pub const APPROVAL_GAS: u64 = 100_000;

/// Which limits a contract takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages an epoch at least.
    pub lowest: u32,
    /// At most.
    pub highest: u32,
    /// How many the whole group has left; `None` without a bound.
    pub left: Option<u64>,
}

impl Limits {
    /// Does it take this one?
    ///
    /// # Errors
    /// [`RegisterError::Limit`], [`RegisterError::GroupFull`].
    pub fn admit(&self, limit: u32) -> Result<(), RegisterError> {
        let Self { lowest, highest, left } = *self;
        if limit < lowest || limit > highest {
            return Err(RegisterError::Limit { limit, lowest, highest });
        }
        match left {
            Some(left) if u64::from(limit) > left => Err(RegisterError::GroupFull { left }),
            _ => Ok(()),
        }
    }
}

/// What is left with the contract for as long as the membership lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposit {
    /// Of which token.
    pub token: Address,
    /// How much of it, in its smallest unit.
    pub amount: U256,
    /// How much the account has.
    pub has: U256,
    /// How much of that the contract may take already.
    pub approved: U256,
}

impl Deposit {
    /// Has the contract still to be allowed to take it?
    #[must_use]
    pub fn needs_approval(&self) -> bool {
        self.approved < self.amount
    }
}

/// What a membership costs an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// The deposit, if there is one.
    pub deposit: Option<Deposit>,
    /// Gas, as far as it is known before.
    pub gas: u64,
    /// Wei for each gas: what is usual now.
    pub gas_price: u128,
    /// Wei that the account has.
    pub ether: U256,
}

impl Cost {
    /// Wei for all the gas at today's price. It may cost twice as much by the time it is paid.
    #[must_use]
    pub fn fee(&self) -> U256 {
        U256::from(self.gas).saturating_mul(U256::from(self.gas_price))
    }

    /// Has the account all of it?
    ///
    /// # Errors
    /// [`RegisterError::NotEnoughToken`], [`RegisterError::NotEnoughEther`].
    pub fn can_be_paid(&self) -> Result<(), RegisterError> {
        if let Some(Deposit { token, amount, has, .. }) = self.deposit
            && has < amount
        {
            return Err(RegisterError::NotEnoughToken { token, has, needs: amount });
        }
        let (has, needs) = (self.ether, self.fee());
        if has < needs { Err(RegisterError::NotEnoughEther { has, needs }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_of_one_member_and_of_the_group() {
        let limits = Limits { lowest: 20, highest: 600, left: Some(100) };
        assert!(limits.admit(20).is_ok() && limits.admit(100).is_ok());
        for limit in [0, 19, 601] {
            assert!(
                matches!(limits.admit(limit), Err(RegisterError::Limit { lowest: 20, highest: 600, .. })),
                "{limit}"
            );
        }
        assert!(matches!(limits.admit(101), Err(RegisterError::GroupFull { left: 100 })));
        assert!(Limits { left: None, ..limits }.admit(600).is_ok());
    }

    #[test]
    fn what_is_missing_is_named() {
        let number = |number: u64| U256::from(number);
        let deposit =
            |has: u64| Deposit { token: Address::ZERO, amount: number(10), has: number(has), approved: number(9) };
        let cost = |ether: u64, has| Cost { deposit: Some(deposit(has)), gas: 5, gas_price: 3, ether: number(ether) };
        assert!(cost(15, 10).can_be_paid().is_ok());
        let ether = RegisterError::NotEnoughEther { has: number(14), needs: number(15) };
        assert_eq!(cost(14, 10).can_be_paid(), Err(ether));
        let token = RegisterError::NotEnoughToken { token: Address::ZERO, has: number(9), needs: number(10) };
        assert_eq!(cost(15, 9).can_be_paid(), Err(token));
        assert!(Cost { deposit: None, ..cost(15, 0) }.can_be_paid().is_ok());
        assert!(deposit(10).needs_approval());
        assert!(!Deposit { approved: number(10), ..deposit(10) }.needs_approval());
    }
}
