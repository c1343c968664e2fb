//! What every archive keeps to, whatever keeps it: one function a case, run against each.

#![expect(clippy::unwrap_used, reason = "tests")]

pub(crate) mod agreeing;
pub(crate) mod durable;
pub(crate) mod reading;
pub(crate) mod retention;
pub(crate) mod rows;
pub(crate) mod writing;

use std::pin::Pin;

use archive::Archive;

type Opening = Pin<Box<dyn Future<Output = Archive> + Send>>;

/// Where an archive is kept. A place is empty at first.
pub(crate) struct Place {
    opens: Box<dyn Fn() -> Opening + Send + Sync>,
    /// Does what is kept outlive its archive?
    pub(crate) is_durable: bool,
}

impl Place {
    /// A place that is opened so.
    pub(crate) fn new<F: Future<Output = Archive> + Send + 'static>(
        is_durable: bool,
        opens: impl Fn() -> F + Send + Sync + 'static,
    ) -> Self {
        Self { opens: Box::new(move || Box::pin(opens())), is_durable }
    }

    /// Opens what is here.
    pub(crate) async fn open(&self) -> Archive {
        (self.opens)().await
    }
}

/// Hands all cases to a macro.
macro_rules! each_case {
    ($with:ident) => {
        $with! {
            reading: pages_have_all_rows_once_in_both_orders_and_directions;
            reading: rows_of_one_time_stand_in_the_order_of_their_hashes;
            reading: a_cursor_that_is_not_here_is_a_position_like_any_other;
            reading: both_ends_of_a_time_span_belong_to_it;
            reading: topics_select_what_stands_on_them;
            reading: h74_topics_are_compared_byte_for_byte_and_never_read;
            reading: many_topics_are_one_page;
            reading: shards_and_proofs_select;
            reading: mail_does_not_see_what_has_no_work_and_store_what_has_no_message;
            reading: rows_are_found_by_each_of_their_names;
            reading: a_page_ends_before_it_is_too_large;
            reading: the_topics_of_a_time_are_told_in_pages;
            writing: what_was_kept_is_given_back_as_it_was;
            writing: nothing_is_kept_twice;
            writing: an_envelope_hash_that_was_mined_later_completes_a_row;
            writing: a_message_completes_an_envelope_alone;
            writing: a_message_and_its_envelope_that_were_kept_apart_become_one;
            writing: an_envelope_on_two_shards_is_seen_once_by_mail;
            writing: a_proof_that_comes_later_is_kept;
            writing: h74_what_is_beyond_its_bounds_is_refused_alone;
            writing: a_large_batch_is_kept;
            writing: totals_follow_every_change;
            writing: the_writer_answers_each_row;
            retention: what_is_a_tenth_too_old_goes;
            retention: the_newest_rows_stay;
            retention: the_newest_bytes_stay;
            retention: without_bounds_everything_stays;
            durable: f01_what_was_answered_is_there_after_opening_it_again;
            agreeing: any_appends_and_queries_give_what_memory_gives;
        }
    };
}
pub(crate) use each_case;
