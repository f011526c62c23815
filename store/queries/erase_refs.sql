{{- /* An order's steps that are on the books. */ -}}
SELECT ref, sum(hits) FROM ledger WHERE ref >= {{arg .First}} AND ref <= {{arg .Last}} GROUP BY ref ORDER BY ref
