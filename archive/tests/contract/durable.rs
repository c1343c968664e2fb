//! What outlives the program.

use archive::{Query, Row};

use super::{
    Place,
    rows::{NOW, SECOND, both, envelope},
};

pub(crate) async fn f01_what_was_answered_is_there_after_opening_it_again(place: Place) {
    if !place.is_durable {
        return assert!(place.open().await.page(&Query::messages()).await.unwrap().rows.is_empty());
    }
    let mut kept: Vec<Row> = vec![];
    for life in 0..3 {
        let archive = place.open().await;
        assert_eq!(archive.page(&Query::messages()).await.unwrap().rows, kept, "life {life}");
        let row = both(life, -i64::try_from(life).unwrap());
        archive
            .append(&[row.clone(), envelope(life + 100, i64::try_from(life + 1).unwrap() * SECOND)], NOW)
            .await
            .unwrap();
        kept.push(row);
        // The last life ends without a word: what was answered is on disk.
        if life < 2 {
            archive.close().await;
        }
    }
    let archive = place.open().await;
    assert_eq!(archive.page(&Query::messages()).await.unwrap().rows, kept);
    assert_eq!(archive.totals().await.unwrap().rows, 6);
}
