//! Decides what must run, looks up what need not, runs the rest in parallel; knows no op.
