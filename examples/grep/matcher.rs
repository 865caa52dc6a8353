//! The second stage: searches each block.

use crate::block::Block;
use crate::print::Summary;
use crate::search::Search;
use cede::{Inbox, Sink};

/// Creates the stage. It searches each block and sends it to the printer. It ends when the printer ends, with the same result.
pub(crate) fn matcher(search: Search, mut printer: Sink<Block, Summary>) -> Sink<Block, Summary> {
    Sink::new(move |inbox: &Inbox<Block>| {
        for mut block in inbox {
            search.run(&mut block);
            if printer.send(block).is_err() || printer.is_finished() {
                break;
            }
        }
        printer.finish()
    })
}
