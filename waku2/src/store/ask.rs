//! The asking side: all pages of a query from one node, in whichever protocol it speaks.
//!
//! Version 3 is offered first. With the first answer it is settled which one is spoken, for a cursor of one says nothing in the other.

use bytes::Bytes;
use rand::Rng;

use super::{
    client::{Answer, AnswerError, Asking, Dialect, NoWords},
    query::Query,
};
use crate::{
    handle::Handle,
    service::{AskError, Protocol, Target},
};

/// Why no page came. What came before stands.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The node could not be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// What it answered is of no use.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// It speaks a protocol that can't ask this.
    #[error(transparent)]
    NoWords(#[from] NoWords),
}

impl PageError {
    /// Is the node asked too often? Then it may be asked again later.
    #[must_use]
    pub const fn is_too_often(&self) -> bool {
        matches!(self, Self::Answer(error) if error.is_too_often())
    }
}

/// A query of one node, page by page.
#[derive(Debug)]
pub struct Pages {
    node: Handle,
    target: Target,
    /// In the protocols that may still be spoken, which is one from the first answer on.
    asking: Vec<(Dialect, Asking)>,
}

impl Pages {
    /// Of a node, in the first of these protocols that it speaks.
    ///
    /// # Errors
    /// [`NoWords`], where none of them can ask this.
    pub fn new(node: Handle, target: Target, dialects: &[Dialect], query: &Query) -> Result<Self, NoWords> {
        let mut asking = Vec::new();
        let mut speechless = None;
        for dialect in dialects {
            match Asking::new(*dialect, query.clone()) {
                Ok(machine) => asking.push((*dialect, machine)),
                Err(error) => speechless = Some(error),
            }
        }
        match speechless {
            Some(error) if asking.is_empty() => Err(error),
            _ => Ok(Self { node, target, asking }),
        }
    }

    /// The next page; `None` when all have come. After an error the same page may be asked for again. Safe to cancel.
    ///
    /// # Errors
    /// [`PageError`].
    pub async fn next(&mut self, rng: &mut impl Rng) -> Result<Option<Answer>, PageError> {
        let words = |(dialect, asking): &mut (Dialect, Asking)| Some((dialect.protocol(), asking.request(rng)?));
        let requests: Vec<(Protocol, Bytes)> = self.asking.iter_mut().filter_map(words).collect();
        if requests.is_empty() {
            return Ok(None);
        }
        let (protocol, answer) = self.node.ask_one_of(self.target.clone(), &requests).await?;
        self.asking.retain(|(dialect, _)| dialect.protocol() == protocol);
        match self.asking.first_mut() {
            Some((_, asking)) => Ok(Some(asking.answer(answer)?)),
            None => Ok(None),
        }
    }

    /// The protocol that is spoken, once an answer has come.
    #[must_use]
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.asking[..] {
            [(dialect, _)] => Some(*dialect),
            _ => None,
        }
    }

    /// Whom it asks.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.target
    }
}
