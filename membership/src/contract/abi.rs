//! The interfaces, as Solidity writes them.
#![allow(missing_docs, unreachable_pub, clippy::use_self, reason = "what the macro writes")]

use alloy_sol_types::sol;

sol! {
    function root() external view returns (uint256);

    /// Of the deposit's token.
    function allowance(address owner, address spender) external view returns (uint256);
    function approve(address spender, uint256 amount) external returns (bool);
    function balanceOf(address owner) external view returns (uint256);

    /// Of the price calculator.
    function calculate(uint32 limit) external view returns (address token, uint256 amount);

    /// What Solidity's `require` reverts with.
    error Error(string reason);
    error Panic(uint256 code);
}

pub mod earlier {
    use super::sol;

    sol! {
        function register(uint256 id, uint32 limit) external;
        function memberExists(uint256 id) external view returns (bool);
        function commitmentIndex() external view returns (uint32);
        function merkleProofElements(uint40 index) external view returns (uint256[20]);
        function getCommitments(uint32 first, uint32 last) external view returns (uint256[] leaves);
        function MAX_MESSAGE_LIMIT() external view returns (uint32);
        event MemberRegistered(uint256 rateCommitment, uint32 index);
    }
}

pub mod current {
    use super::sol;

    sol! {
        function register(uint256 id, uint32 limit, uint256[] erased) external;
        function isInMembershipSet(uint256 id) external view returns (bool);
        function nextFreeIndex() external view returns (uint32);
        function getMerkleProof(uint40 index) external view returns (uint256[20]);
        function getMembershipInfo(uint256 id) external view returns (uint32 limit, uint32 index, uint256 leaf);
        function priceCalculator() external view returns (address);
        function maxMembershipRateLimit() external view returns (uint32);
        function minMembershipRateLimit() external view returns (uint32);
        function maxTotalRateLimit() external view returns (uint32);
        function currentTotalRateLimit() external view returns (uint256);
        function extendMemberships(uint256[] ids) external;
        function isInGracePeriod(uint256 id) external view returns (bool);
        function isExpired(uint256 id) external view returns (bool);
        event MembershipRegistered(uint256 idCommitment, uint256 rateLimit, uint32 index);
    }
}
