-- What marts share: exact percentiles, and where views look from.

create schema marts;
