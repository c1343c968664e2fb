//! A request in its envelope.  Spec: 8/WAKU-MAIL, "Requesting messages"; status-go `services/ext/api.go`.

use devp2p::NodeKey;
use rand::Rng;

use super::super::{
    REQUEST_TOPIC,
    request::{Form, Request},
};
use crate::{
    envelope::{Envelope, EnvelopeError},
    payload::{Content, SealError, SealTo, seal},
    pow::{Pow, Unsealed},
};

/// Time to live of a request, in seconds. Source: status-go, `newEnvelope`. No server looks at it.
pub const REQUEST_TTL: u32 = 50;
/// Most nonces tried: a second's work, thousands of times what deployed servers ask for.
const MAX_NONCES: u64 = 1 << 22;

/// Why there is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealRequestError {
    /// It names too many topics.
    #[error(transparent)]
    Payload(#[from] SealError),
    /// The clock is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The server asks for too much work.
    #[error("no nonce was found that has the work that the server asks for")]
    Work,
}

/// Encrypts a request to a server, signs it, and searches for its work. Its hash is the name of the request.
///
/// # Errors
/// [`SealRequestError`].
pub fn seal_request(
    request: &Request,
    to: SealTo<'_>,
    sign: &NodeKey,
    now_secs: u64,
    work: Pow,
    rng: &mut impl Rng,
) -> Result<Envelope, SealRequestError> {
    let data = seal(&Content::from(request.encode(Form::Deployed)), to, Some(sign), rng)?;
    let expiry = u32::try_from(now_secs).unwrap_or(u32::MAX).saturating_add(REQUEST_TTL);
    let unsealed = Unsealed::new(expiry, REQUEST_TTL, REQUEST_TOPIC, data)?;
    let nonce = unsealed.search(0, 0, MAX_NONCES, unsealed.required_bits(work)).ok_or(SealRequestError::Work)?;
    Ok(unsealed.seal(nonce))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::{
        bloom::Bloom,
        payload::{Key, SymKey, open},
        topic::Topic,
    };

    #[test]
    fn a_server_opens_what_was_sealed_for_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let request = Request {
            lower: 1,
            upper: 2,
            bloom: Some(Bloom::FULL),
            topics: vec![Topic([1, 2, 3, 4])],
            limit: 9,
            cursor: Some([5; 36]),
            batch: true,
        };
        let (client, server) = (NodeKey::generate(&mut rng), NodeKey::generate(&mut rng));
        let shared = SymKey::generate(&mut rng);
        let work = Pow::new(0.002).unwrap();
        for (to, key) in [
            (SealTo::Symmetric(&shared), Key::Symmetric(shared.clone())),
            (SealTo::Public(&server.public()), Key::Private(NodeKey::from_bytes(&server.to_bytes()).unwrap())),
        ] {
            let sealed = seal_request(&request, to, &client, 1_700_000_000, work, &mut rng).unwrap();
            assert!(sealed.pow() >= work && sealed.topic() == REQUEST_TOPIC && sealed.sent() == 1_700_000_000);
            let opened = open(sealed.data(), &key).unwrap();
            assert_eq!(opened.signer(), Some(client.public()));
            assert_eq!(Request::decode(&opened.payload), Ok((request.clone(), Form::Deployed)));
        }
        let unreachable = Pow::new(1e30).unwrap();
        let refused = seal_request(&request, SealTo::Symmetric(&shared), &client, 5, unreachable, &mut rng);
        assert_eq!(refused, Err(SealRequestError::Work));
    }
}
