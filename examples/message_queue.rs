//! Components that are connected only by queues (channels): `cargo run --example message_queue`.

use cede::sync::channel::{Receiver, Sender, unbounded};
use cede::{select, spawn};

enum Order {
    Tea(u32),
    Cake(u32),
}

/// Routes each order to the queue of its station.
fn counter(orders: Receiver<Order>, kettle: Sender<u32>, oven: Sender<u32>) {
    orders.into_iter().for_each(|order| match order {
        Order::Tea(table) => kettle.send(table).expect("the kettle is on"),
        Order::Cake(table) => oven.send(table).expect("the oven is hot"),
    });
}

fn station(name: &'static str, work: Receiver<u32>, done: Sender<String>) {
    work.into_iter().for_each(|table| done.send(format!("{name} for table {table}")).expect("it is served"));
}

/// Serves from both stations, the first ready one first, until one is closed. Then serves the rest of both.
fn waiter(tea: Receiver<String>, cake: Receiver<String>) {
    let next = || select! { recv(tea) -> served => served.ok(), recv(cake) -> served => served.ok() }.ok()?;
    std::iter::from_fn(next).for_each(|served| println!("{served}"));
    tea.iter().chain(&cake).for_each(|served| println!("{served}"));
}

fn main() {
    cede::run(|| {
        let ((order, orders), (kettle, tea_orders), (oven, cake_orders)) = (unbounded(), unbounded(), unbounded());
        let ((tea, teas), (cake, cakes)) = (unbounded(), unbounded());
        spawn(move || counter(orders, kettle, oven));
        spawn(move || station("tea", tea_orders, tea));
        spawn(move || station("cake", cake_orders, cake));
        (1..=3).flat_map(|table| [Order::Tea(table), Order::Cake(table)]).for_each(|one| order.send(one).unwrap());
        drop(order); // closes the first queue; the end of each queue closes the next one
        waiter(teas, cakes);
        println!("closed");
    });
}
