//! The suites that every back-end must pass: plain functions, one for each sentence of a contract,
//! and a macro for each suite that makes them the tests of a back-end.
