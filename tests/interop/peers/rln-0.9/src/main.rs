//! Release 0.9.0 of the reference library on a command line: commands in, a line each; events out, a JSON object a line.
//!
//! ```text
//! identity SEED
//! prove SECRET LIMIT ID INDEX SIBLINGS EPOCH IDENTIFIER SIGNAL
//! verify SNARK ROOT EPOCH X Y NULLIFIER IDENTIFIER SIGNAL ROOT[,ROOT]
//! ```
//! LIMIT, ID and INDEX are decimal; all else is hex, elements little-endian, SIBLINGS in one piece from the leaf upwards. It hashes by
//! itself what a proof is bound to: epoch with identifier, and the signal.

use std::{
    io::{self, BufRead as _, Cursor},
    time::{SystemTime, UNIX_EPOCH},
};

use rln::{
    hashers::{hash_to_field_le, poseidon_hash},
    protocol::extended_seeded_keygen,
    public::RLN,
    utils::{bytes_le_to_fr, fr_to_bytes_le},
};
use serde_json::{Value, json};

type Failed = Box<dyn std::error::Error>;

const ELEMENT_BYTES: usize = 32;
const SNARK_BYTES: usize = 128;
const DEPTH: u64 = 20;

fn main() -> Result<(), Failed> {
    let mut rln = RLN::new()?;
    say("ready", json!({ "library": "rln 0.9.0" }));
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match answer(&mut rln, &words) {
            Ok(reply) => say("reply", reply),
            Err(error) => say("error", json!({ "cmd": words[0], "error": error.to_string() })),
        }
    }
    Ok(())
}

fn say(event: &str, mut fields: Value) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    fields["event"] = event.into();
    fields["t"] = u64::try_from(now.as_millis()).unwrap_or(u64::MAX).into();
    println!("{fields}");
}

fn answer(rln: &mut RLN, words: &[&str]) -> Result<Value, Failed> {
    match words {
        ["identity", seed] => identity(seed),
        ["prove", numbers @ .., epoch, identifier, signal] if numbers.len() == 5 => {
            prove(rln, numbers, &external(epoch, identifier)?, signal)
        }
        ["verify", snark, root, epoch, x, y, nullifier, identifier, signal, roots] => {
            let external = hex::encode(external(epoch, identifier)?);
            verify(rln, &[snark, root, &external, x, y, nullifier], signal, roots)
        }
        _ => Err("no such command".into()),
    }
}

fn identity(seed: &str) -> Result<Value, Failed> {
    let (trapdoor, nullifier, secret, commitment) = extended_seeded_keygen(&hex::decode(seed)?);
    let [trapdoor, nullifier, secret, commitment] =
        [trapdoor, nullifier, secret, commitment].map(|element| hex::encode(fr_to_bytes_le(&element)));
    Ok(json!({ "trapdoor": trapdoor, "nullifier": nullifier, "secret": secret, "commitment": commitment }))
}

fn prove(rln: &mut RLN, numbers: &[&str], external: &[u8], signal: &str) -> Result<Value, Failed> {
    let [secret, limit, id, index, siblings] = numbers else { return Err("no such command".into()) };
    let index: u32 = index.parse()?;
    let sides = (0..DEPTH).map(|height| (index >> height & 1) as u8).collect();
    let witness = [
        hex::decode(secret)?,
        number(limit)?,
        number(id)?,
        DEPTH.to_le_bytes().to_vec(),
        hex::decode(siblings)?,
        DEPTH.to_le_bytes().to_vec(),
        sides,
        fr_to_bytes_le(&hash_to_field_le(&hex::decode(signal)?)),
        external.to_vec(),
    ];
    let mut proof = vec![];
    if let Err(error) = rln.generate_rln_proof_with_witness(Cursor::new(witness.concat()), &mut proof) {
        return Ok(json!({ "refused": error.to_string() }));
    }
    let (snark, elements) = proof.split_at(SNARK_BYTES);
    let elements: Vec<_> = elements.chunks(ELEMENT_BYTES).map(hex::encode).collect();
    let [root, external, x, y, nullifier] = &elements[..] else { return Err("a proof of another length".into()) };
    Ok(json!({
        "snark": hex::encode(snark), "root": root, "external": external, "x": x, "y": y, "nullifier": nullifier,
    }))
}

fn verify(rln: &RLN, proof: &[&str], signal: &str, roots: &str) -> Result<Value, Failed> {
    let (signal, roots) = (hex::decode(signal)?, hex::decode(roots.replace(',', ""))?);
    let mut claim = hex::decode(proof.concat())?;
    claim.extend((signal.len() as u64).to_le_bytes());
    claim.extend(signal);
    Ok(match rln.verify_with_roots(Cursor::new(claim), Cursor::new(roots)) {
        Ok(holds) => json!({ "holds": holds }),
        Err(error) => json!({ "holds": false, "why": error.to_string() }),
    })
}

/// What an epoch and an application make of it.
fn external(epoch: &str, identifier: &str) -> Result<Vec<u8>, Failed> {
    let element = |text: &str| Ok::<_, Failed>(bytes_le_to_fr(&hex::decode(text)?).0);
    Ok(fr_to_bytes_le(&poseidon_hash(&[element(epoch)?, element(identifier)?])))
}

fn number(decimal: &str) -> Result<Vec<u8>, Failed> {
    let mut bytes = decimal.parse::<u64>()?.to_le_bytes().to_vec();
    bytes.resize(ELEMENT_BYTES, 0);
    Ok(bytes)
}
