"""ETL over a table like a census: extract from CSV, transform in SQL, and the diversity index of each county."""

from pathlib import Path

import duckdb

DIVERSITY = """
    SELECT round(avg(index), 6) FROM (
        SELECT county, 1 - sum(share * share) AS index FROM (
            SELECT county, people / sum(people) OVER (PARTITION BY county) AS share FROM (
                SELECT county, race, sum(weight) AS people FROM persons GROUP BY county, race))
        GROUP BY county)"""
HOUSEHOLDS = """
    SELECT count(*), round(avg(income), 2) FROM (
        SELECT household, sum(income) AS income, max(age) AS oldest FROM persons GROUP BY household)
    WHERE oldest BETWEEN {} AND {}"""
TOGETHER = """
    SELECT count(*) FROM persons one JOIN persons other
    ON one.household = other.household AND one.age > other.age + {}"""


def work(data: Path) -> str:
    """The answers of all queries. Input: census.csv."""
    base = duckdb.connect(":memory:", config={"threads": 1})
    base.execute(f"CREATE TABLE persons AS SELECT * FROM read_csv('{data / 'census.csv'}', header=true)")
    answers = [base.execute(DIVERSITY).fetchone()]
    for youngest in (20, 50):
        answers.append(base.execute(HOUSEHOLDS.format(youngest, youngest + 15)).fetchone())
    answers.append(base.execute(TOGETHER.format(30)).fetchone())
    return " ".join(str(value) for row in answers for value in row)
